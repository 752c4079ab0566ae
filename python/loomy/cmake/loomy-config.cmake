# find_package(loomy CONFIG) from an installed wheel or an editable install:
#   cmake -Dloomy_DIR=$(python -c "import loomy; print(loomy.get_cmake_dir())") ...
# Gives the target loomy::kernel: the headers, nothing to link against.
get_filename_component(loomy_INCLUDE_DIR "${CMAKE_CURRENT_LIST_DIR}/../include" ABSOLUTE)
if(NOT EXISTS "${loomy_INCLUDE_DIR}/loomy/kernel.h")
    set(loomy_FOUND FALSE)
    set(loomy_NOT_FOUND_MESSAGE "${loomy_INCLUDE_DIR} has no loomy/kernel.h; install loomy again")
    return()
endif()
if(NOT TARGET loomy::kernel)
    add_library(loomy::kernel INTERFACE IMPORTED)
    set_target_properties(loomy::kernel PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${loomy_INCLUDE_DIR}")
endif()
