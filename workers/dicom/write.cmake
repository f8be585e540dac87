# kf_dicom_write: a volume becomes a DICOM series (write_series.h: for the phantom and the tests; write_derived.h: for
# what jobs make), a label map a segmentation.
kerf_library(kf_dicom_write
  SOURCES write_series.cpp write_shim.cpp write_content.cpp write_image.cpp write_labels.cpp
  DEPENDS kf_base)
target_link_libraries(kf_dicom_write PRIVATE
  dcmseg dcmfg dcmiod dcmjpls dcmjpeg dcmdata oflog ofstd ZLIB::ZLIB)
# Loops over every voxel: at -O2 this compiler vectorises next to nothing.
set_source_files_properties(write_image.cpp write_labels.cpp PROPERTIES COMPILE_OPTIONS -O3)
