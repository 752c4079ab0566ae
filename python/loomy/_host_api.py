"""Where `PyCapsule_Import("loomy._host_api.v1", 0)` finds the capsule that `loomy/host.h` describes."""

from loomy._loomy import _host_api as v1

__all__ = ("v1",)
