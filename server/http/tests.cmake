# The tests of server/http; their sources lie in tests/.
foreach(name IN ITEMS dispatch multipart cache static)
  kerf_test(http_${name} SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/http_${name}.c DEPENDS kf_http)
endforeach()
