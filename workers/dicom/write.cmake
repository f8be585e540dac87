# kf_dicom_write: a volume becomes a DICOM series. For the phantom and the tests.
kerf_library(kf_dicom_write SOURCES write_series.cpp DEPENDS kf_base)
target_link_libraries(kf_dicom_write PRIVATE dcmjpls dcmjpeg dcmdata oflog ofstd ZLIB::ZLIB)
