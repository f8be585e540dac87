# The tests of server/http; their sources lie in tests/.
foreach(name IN ITEMS dispatch multipart cache static)
  kerf_test(http_${name} SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/http_${name}.c DEPENDS kf_http)
endforeach()

kerf_test(http_watch SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/http_watch.c DEPENDS kf_mhd)
kerf_test(http_slow SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/http_slow.c DEPENDS kf_mhd)
kerf_test(live_hub SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/live_hub.c DEPENDS kf_http kf_live)

kerf_test(http_sockets SOURCES ${CMAKE_SOURCE_DIR}/tests/service/http_sockets.c
  DEPENDS kf_mhd kf_front kf_http kf_tls LABELS service)

# What tests/bench/http.sh measures beside nginx.
if(KERF_TESTS)
  kerf_program(http_bench_server SOURCES ${CMAKE_SOURCE_DIR}/tests/bench/http_server.c
    DEPENDS kf_http kf_mhd kf_front kf_tls)
endif()

foreach(name IN ITEMS request multipart)
  kerf_fuzz(fuzz_http_${name} SOURCES ${CMAKE_SOURCE_DIR}/tests/fuzz/http_${name}.c DEPENDS kf_http)
endforeach()

if(KERF_TESTS)
  add_test(NAME server_config COMMAND ${CMAKE_SOURCE_DIR}/tests/service/server_config.sh)
  set_tests_properties(server_config PROPERTIES LABELS service TIMEOUT 600
    ENVIRONMENT "KERF_BIN=${CMAKE_BINARY_DIR}/bin")
endif()
