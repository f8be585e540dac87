# The network side of the DICOM shim (net_*): included by this folder's CMakeLists.txt.
find_library(KERF_DCMNET dcmnet REQUIRED)
find_library(KERF_DCMTLS dcmtls REQUIRED)
find_library(KERF_DCMDATA dcmdata REQUIRED)
find_library(KERF_OFLOG oflog REQUIRED)
find_library(KERF_OFSTD ofstd REQUIRED)
kerf_library(kf_dicom_net
  SOURCES net_command.c net_part10.c net_policy.cpp net_wire.cpp net_tls.cpp net_scp.cpp net_scu.cpp
  DEPENDS kf_base)
target_link_libraries(kf_dicom_net PRIVATE
  ${KERF_DCMNET} ${KERF_DCMTLS} ${KERF_DCMDATA} ${KERF_OFLOG} ${KERF_OFSTD} Threads::Threads)

kerf_test(dicom_net_command SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/dicom_net_command.c DEPENDS kf_dicom_net kf_base)
kerf_test(intake_protocol SOURCES ${CMAKE_SOURCE_DIR}/tests/service/intake_protocol.c DEPENDS kf_dicom_net kf_base
  LABELS service)
kerf_fuzz(fuzz_dicom_net_command SOURCES ${CMAKE_SOURCE_DIR}/tests/fuzz/dicom_net_command.c
  DEPENDS kf_dicom_net kf_base)
