# kf_routes: the API on the dispatcher.
set(openapi_c ${CMAKE_CURRENT_BINARY_DIR}/openapi_gen.c)
add_custom_command(OUTPUT ${openapi_c}
  COMMAND ${CMAKE_COMMAND} -DIN=${CMAKE_SOURCE_DIR}/api/openapi.yaml -DOUT=${openapi_c} -DSYMBOL=kf_openapi_yaml
          -P ${CMAKE_CURRENT_SOURCE_DIR}/embed.cmake
  DEPENDS ${CMAKE_SOURCE_DIR}/api/openapi.yaml ${CMAKE_CURRENT_SOURCE_DIR}/embed.cmake VERBATIM)
kerf_library(kf_routes
  SOURCES routes_common.c routes_auth.c routes_views.c routes_session.c routes_accounts.c routes_cases.c routes_artefacts.c
          routes_jobs.c routes_levels.c routes_events.c routes_settings.c routes_uploads.c routes_stow.c intake_body.c json_out.c body.c ${openapi_c}
  DEPENDS kf_http kf_live kf_app kf_domain kf_base)
kerf_test(http_json_out SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/http_json_out.c DEPENDS kf_routes kf_base)
kerf_test(http_body SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/http_body.c DEPENDS kf_routes kf_http kf_base)
if(KERF_TESTS)
  kerf_library(kf_test_api SOURCES ${CMAKE_SOURCE_DIR}/tests/service/fixture_api.c DEPENDS kf_routes kf_test_pg)
  foreach(name IN ITEMS routes jobs)
    kerf_test(api_${name} SOURCES ${CMAKE_SOURCE_DIR}/tests/service/api_${name}.c DEPENDS kf_test_api LABELS service)
  endforeach()
endif()
# Over a whole Kerf (`kerf up`), every exchange held against api/openapi.yaml.
if(KERF_TESTS)
  find_program(KERF_NODE node REQUIRED)
  foreach(name IN ITEMS openapi_check authz_matrix api_flows api_uploads blob_encodings)
    if(EXISTS ${CMAKE_SOURCE_DIR}/tests/service/${name}.mjs)
      add_test(NAME ${name} COMMAND ${KERF_NODE} ${CMAKE_SOURCE_DIR}/tests/service/${name}.mjs)
      set_tests_properties(${name} PROPERTIES LABELS api TIMEOUT 1800 ENVIRONMENT "KERF_BIN=${CMAKE_BINARY_DIR}/bin")
    endif()
  endforeach()
endif()
kerf_fuzz(fuzz_api_text SOURCES ${CMAKE_SOURCE_DIR}/tests/fuzz/api_text.c DEPENDS kf_routes kf_http kf_domain kf_base)
