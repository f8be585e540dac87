# Build rules shared by every module: hardening, warnings, and the three verbs kerf_library, kerf_program, kerf_test.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(OpenMP REQUIRED COMPONENTS C)

add_library(kerf_options INTERFACE)
target_include_directories(kerf_options INTERFACE ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR})
target_compile_definitions(kerf_options INTERFACE _GNU_SOURCE KERF_VERSION="${PROJECT_VERSION}")
# Results may depend on neither compiler whim nor instruction set: no contraction, no fast-math.
target_compile_options(kerf_options INTERFACE
  -ffp-contract=off -fno-strict-aliasing -fvisibility=hidden
  -Wall -Wextra -Wundef -Wcast-qual -Wformat=2
  # In g++ a function with the name of a struct tag (kf_sha256) counts as shadowing its constructor.
  $<IF:$<COMPILE_LANG_AND_ID:CXX,GNU>,-Wshadow=local,-Wshadow>
  $<$<COMPILE_LANGUAGE:C>:-Wconversion -Wvla -Wmissing-prototypes>)
if(KERF_WERROR)
  target_compile_options(kerf_options INTERFACE -Werror)
endif()
if(KERF_FUZZ)
  # Coverage of the code under test, not only of the targets: without it libFuzzer is blind.
  target_compile_options(kerf_options INTERFACE -fsanitize=fuzzer-no-link)
endif()
if(KERF_SANITIZE)
  target_compile_options(kerf_options INTERFACE -fsanitize=${KERF_SANITIZE} -fno-omit-frame-pointer -g)
  target_link_options(kerf_options INTERFACE -fsanitize=${KERF_SANITIZE})
else()
  target_compile_options(kerf_options INTERFACE
    $<$<CONFIG:Release>:-U_FORTIFY_SOURCE> $<$<CONFIG:Release>:-D_FORTIFY_SOURCE=2>
    -fstack-protector-strong -fstack-clash-protection)
  target_link_options(kerf_options INTERFACE -Wl,-z,relro,-z,now)
endif()
set(CMAKE_C_FLAGS_RELEASE "-O2 -g")
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -g")

# kerf_library(NAME SOURCES a.c … [DEPENDS kf_base …] [PKG libpq …]): a static library of this folder.
function(kerf_library name)
  cmake_parse_arguments(A "" "" "SOURCES;DEPENDS;PKG" ${ARGN})
  add_library(${name} STATIC ${A_SOURCES})
  target_link_libraries(${name} PUBLIC kerf_options ${A_DEPENDS})
  foreach(pkg IN LISTS A_PKG)
    string(MAKE_C_IDENTIFIER "KERF_PKG_${pkg}" var)
    if(NOT TARGET PkgConfig::${var})
      pkg_check_modules(${var} REQUIRED IMPORTED_TARGET GLOBAL ${pkg})
    endif()
    target_link_libraries(${name} PRIVATE PkgConfig::${var})
  endforeach()
endfunction()

# kerf_program(NAME SOURCES … DEPENDS …): an executable in build/bin.
function(kerf_program name)
  cmake_parse_arguments(A "" "" "SOURCES;DEPENDS" ${ARGN})
  add_executable(${name} ${A_SOURCES})
  target_link_libraries(${name} PRIVATE kerf_options ${A_DEPENDS})
endfunction()

# kerf_test(NAME SOURCES … DEPENDS … [LABELS unit] [ARGS …]): a test program (server/base/test.h), run by ctest.
function(kerf_test name)
  if(NOT KERF_TESTS)
    return()
  endif()
  cmake_parse_arguments(A "" "TIMEOUT" "SOURCES;DEPENDS;LABELS;ARGS" ${ARGN})
  add_executable(${name} ${A_SOURCES})
  target_link_libraries(${name} PRIVATE kerf_options ${A_DEPENDS})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  add_test(NAME ${name} COMMAND ${name} ${A_ARGS})
  if(NOT A_LABELS)
    set(A_LABELS unit)
  endif()
  # A guard against what never ends, no bound: many times what it takes, with the sanitizers and on a slow machine too.
  if(NOT A_TIMEOUT)
    set(A_TIMEOUT 600)
  endif()
  # Exit code 77 means skipped, with the reason on standard output.
  set_tests_properties(${name} PROPERTIES LABELS "${A_LABELS}" TIMEOUT ${A_TIMEOUT} SKIP_RETURN_CODE 77)
endfunction()

# kerf_fuzz(NAME SOURCES … DEPENDS …): a libFuzzer target, built with -DKERF_FUZZ=ON under clang.
function(kerf_fuzz name)
  if(NOT KERF_FUZZ)
    return()
  endif()
  cmake_parse_arguments(A "" "" "SOURCES;DEPENDS" ${ARGN})
  add_executable(${name} ${A_SOURCES})
  target_link_libraries(${name} PRIVATE kerf_options ${A_DEPENDS})
  target_compile_options(${name} PRIVATE -fsanitize=fuzzer)
  target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/fuzz)
endfunction()
