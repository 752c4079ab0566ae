"""Numbers that a type has no room for: an error that names kernel and argument, never another number."""

from __future__ import annotations

import math
from typing import Any

import pytest

np: Any = pytest.importorskip("numpy")

from kernel_tools import NO_COMPILER, kernels  # noqa: E402

import loomy  # noqa: E402

pytestmark = pytest.mark.skipif(NO_COMPILER is not None, reason=str(NO_COMPILER))


def bits_of(dtype: str) -> loomy.Kernel:
    return loomy.kernel(kernels("native.c").bits, signature=f"value:{dtype} out:u1[16]!")


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        *[pytest.param(dtype, 10**400, id=f"{dtype} 10**400") for dtype in ("f2", "f4", "f8", "c8", "c16")],
        *[pytest.param(dtype, -(10**400), id=f"{dtype} -(10**400)") for dtype in ("f8", "c16")],
        # More digits than Python shows, and pytest.
        *[pytest.param(dtype, 10**5000, id=f"{dtype} 10**5000") for dtype in ("i1", "i8", "u8", "f8", "c16")],
        *[("f4", 1e300), ("f4", -3.5e38), ("f4", np.float64(1e39)), ("f4", 2**200)],
        *[("c8", 1e300), ("c8", complex(0, -1e39)), ("c8", np.complex128(1e300))],
    ],
)
def test_a_number_that_is_too_large_is_a_value_error(dtype: str, value: Any) -> None:
    out = np.zeros(16, np.uint8)
    with pytest.raises(
        ValueError, match=rf"kernel 'bits': argument 'value' .* does not fit into {dtype}"
    ) as e:
        bits_of(dtype)(value, out, n=1)
    assert len(str(e.value)) < 200
    assert not out.any()


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, 3.4028234663852886e38, np.float32(1e-45)])
@pytest.mark.parametrize("dtype", ["f4", "c8"])
def test_what_is_no_finite_number_fits_everywhere(dtype: str, value: Any) -> None:
    out = np.zeros(16, np.uint8)
    bits_of(dtype)(value, out, n=1)
    (seen,) = out[:4].view("f4")
    assert seen == value or (math.isnan(seen) and math.isnan(value))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i8", "b1"])
@pytest.mark.parametrize(
    "value", [1j, np.complex64(2 + 1j), np.complex128(2), np.array(2 + 1j), np.clongdouble(3j)], ids=repr
)
def test_a_complex_number_is_no_real_one(dtype: str, value: Any) -> None:
    with pytest.raises(TypeError, match="kernel 'bits': argument 'value' "):
        bits_of(dtype)(value, np.zeros(16, np.uint8), n=1)


def test_complex_kernels_take_numbers_of_all_kinds() -> None:
    for value in (1j, np.complex64(2 + 1j), np.complex128(2), np.array(2 + 1j), 3, 2.5, np.float32(1)):
        out = np.zeros(16, np.uint8)
        bits_of("c16")(value, out, n=1)
        assert out.view("c16")[0] == value


def test_an_error_of_the_number_itself_passes() -> None:
    class Odd:
        def __float__(self) -> float:
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        bits_of("f8")(Odd(), np.zeros(16, np.uint8), n=1)


@pytest.mark.parametrize("device", [2**70, -(2**70)])
def test_a_device_that_no_number_of_c_is_names_its_argument(device: int) -> None:
    class Tensor:
        def __dlpack__(self, **_: Any) -> Any:
            raise AssertionError("it is on no CPU")

        def __dlpack_device__(self) -> tuple[int, int]:
            return device, 0

    with pytest.raises(ValueError, match=r"kernel 'saxpy': argument 'x' .*too large"):
        kernels("native.c").saxpy(Tensor(), np.zeros(3), 1.0)
