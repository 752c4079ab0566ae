# nanobench::nanobench: the system's, else the folder that -DLOOMY_NANOBENCH_DIR= names, else the release from its home.
set(LOOMY_NANOBENCH_DIR "" CACHE PATH "Folder of nanobench.h, where it is neither installed nor to be fetched")

find_path(LOOMY_NANOBENCH_INCLUDE_DIR nanobench.h HINTS ${LOOMY_NANOBENCH_DIR} PATH_SUFFIXES nanobench)
mark_as_advanced(LOOMY_NANOBENCH_INCLUDE_DIR)
if(NOT LOOMY_NANOBENCH_INCLUDE_DIR)
    include(FetchContent)
    FetchContent_Declare(
        nanobench_release
        URL https://github.com/martinus/nanobench/archive/refs/tags/v4.3.11.tar.gz
        URL_HASH SHA256=53a5a913fa695c23546661bf2cd22b299e10a3e994d9ed97daf89b5cada0da70
        SOURCE_SUBDIR no-build # one header is all we want
    )
    FetchContent_MakeAvailable(nanobench_release)
    set(LOOMY_NANOBENCH_INCLUDE_DIR ${nanobench_release_SOURCE_DIR}/src/include)
endif()
add_library(nanobench::nanobench INTERFACE IMPORTED)
target_include_directories(nanobench::nanobench INTERFACE ${LOOMY_NANOBENCH_INCLUDE_DIR})
