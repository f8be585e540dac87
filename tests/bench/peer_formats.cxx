// ITK's reading and writing of image files, beside ours: peer_formats IN [OUT]; a name that ends in / is a folder of
// DICOM, which GDCM puts together. Prints what it read as one JSON object
// (spacing, origin, direction by rows, a checksum of the voxels as int16) and writes OUT, compressed.
#include <cinttypes>
#include <cstdio>
#include <string>

#include <itkImage.h>
#include <itkGDCMImageIO.h>
#include <itkGDCMSeriesFileNames.h>
#include <itkImageFileReader.h>
#include <itkImageFileWriter.h>
#include <itkImageSeriesReader.h>
#include <itkMetaImageIO.h>
#include <itkNiftiImageIO.h>
#include <itkNrrdImageIO.h>

using Image = itk::Image<short, 3>;

static bool ends(const std::string &text, const char *tail)
{
    std::string t(tail);
    return text.size() > t.size() && text.compare(text.size() - t.size(), t.size(), t) == 0;
}

static itk::ImageIOBase::Pointer io_of(const std::string &name)
{
    if (ends(name, ".nrrd"))
        return itk::NrrdImageIO::New().GetPointer();
    if (ends(name, ".mha") || ends(name, ".mhd"))
        return itk::MetaImageIO::New().GetPointer();
    return itk::NiftiImageIO::New().GetPointer();
}

static void print(const Image *image)
{
    uint64_t hash = 14695981039346656037ULL; // FNV-1a
    auto region = image->GetLargestPossibleRegion();
    const unsigned char *bytes = reinterpret_cast<const unsigned char *>(image->GetBufferPointer());
    for (size_t i = 0; i < region.GetNumberOfPixels() * sizeof(short); i++)
        hash = (hash ^ bytes[i]) * 1099511628211ULL;
    std::printf(
        "{\"dim\":[%lu,%lu,%lu],\"spacing_mm\":[%.17g,%.17g,%.17g],\"origin_lps\":[%.17g,%.17g,%.17g],\"direction\":[",
        region.GetSize(0), region.GetSize(1), region.GetSize(2), image->GetSpacing()[0], image->GetSpacing()[1],
        image->GetSpacing()[2], image->GetOrigin()[0], image->GetOrigin()[1], image->GetOrigin()[2]);
    for (int i = 0; i < 9; i++)
        std::printf("%s%.17g", i ? "," : "", image->GetDirection()[i / 3][i % 3]);
    std::printf("],\"voxels\":\"%016" PRIx64 "\"}\n", hash);
}

static Image::Pointer read(const std::string &name)
{
    if (!ends(name, "/")) {
        auto reader = itk::ImageFileReader<Image>::New();
        reader->SetFileName(name);
        reader->SetImageIO(io_of(name));
        reader->Update();
        return reader->GetOutput();
    }
    auto files = itk::GDCMSeriesFileNames::New();
    auto reader = itk::ImageSeriesReader<Image>::New();
    files->SetDirectory(name);
    reader->SetImageIO(itk::GDCMImageIO::New());
    reader->SetFileNames(files->GetInputFileNames());
    reader->Update();
    return reader->GetOutput();
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return 2;
    itk::Object::GlobalWarningDisplayOff(); // it warns of NIfTI fields that MetaImage has no place for
    try {
        Image::Pointer image = read(argv[1]);
        print(image);
        if (argc > 2) {
            auto writer = itk::ImageFileWriter<Image>::New();
            writer->SetFileName(argv[2]);
            writer->SetImageIO(io_of(argv[2]));
            writer->SetInput(image);
            writer->SetUseCompression(true);
            writer->Update();
        }
    } catch (const itk::ExceptionObject &why) {
        std::fprintf(stderr, "%s\n", why.GetDescription());
        return 1;
    }
    return 0;
}
