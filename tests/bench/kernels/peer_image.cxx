// ITK doing what image.c times: `bench_peer_image VOLUME.nii NAME THREADS [REPEATS]` prints the median in milliseconds.
// VOLUME is an int16 NIfTI-2 file as kerf-job import writes it. The program is for the benchmark only.
#include "tests/bench/kernels/timing.h"

#include <itkAffineTransform.h>
#include <itkBSplineInterpolateImageFunction.h>
#include <itkBinaryBallStructuringElement.h>
#include <itkBinaryFillholeImageFilter.h>
#include <itkBinaryMorphologicalClosingImageFilter.h>
#include <itkBinaryThresholdImageFilter.h>
#include <itkConnectedComponentImageFilter.h>
#include <itkCurvatureAnisotropicDiffusionImageFilter.h>
#include <itkGradientMagnitudeRecursiveGaussianImageFilter.h>
#include <itkImage.h>
#include <itkMedianImageFilter.h>
#include <itkMultiThreaderBase.h>
#include <itkNearestNeighborInterpolateImageFunction.h>
#include <itkOtsuThresholdImageFilter.h>
#include <itkRelabelComponentImageFilter.h>
#include <itkResampleImageFilter.h>
#include <itkSignedMaurerDistanceMapImageFilter.h>
#include <itkSmoothingRecursiveGaussianImageFilter.h>

#include <cstdint>
#include <cstring>
#include <string>

using Short = itk::Image<short, 3>;
using Byte = itk::Image<unsigned char, 3>;
using Float = itk::Image<float, 3>;
using Label = itk::Image<unsigned int, 3>;

namespace {
template <class Image, class From> typename Image::Pointer like(const From *from)
{
    auto image = Image::New();
    image->SetRegions(from->GetLargestPossibleRegion());
    image->SetSpacing(from->GetSpacing());
    image->Allocate();
    return image;
}

Short::Pointer load(const char *path)
{
    unsigned char header[544];
    std::int64_t dim[4];
    double spacing[4];
    FILE *file = fopen(path, "rb");
    if (!file || fread(header, 1, sizeof header, file) != sizeof header || memcmp(header + 4, "n+2", 3) != 0) {
        if (file)
            fclose(file);
        return nullptr;
    }
    memcpy(dim, header + 16, sizeof dim);
    memcpy(spacing, header + 104, sizeof spacing);
    auto image = Short::New();
    Short::SizeType size;
    for (unsigned a = 0; a < 3; a++)
        size[a] = static_cast<Short::SizeType::SizeValueType>(dim[a + 1]);
    image->SetRegions(size);
    image->SetSpacing(spacing + 1);
    image->Allocate();
    size_t voxels = image->GetLargestPossibleRegion().GetNumberOfPixels();
    bool whole = fread(image->GetBufferPointer(), 2, voxels, file) == voxels;
    fclose(file);
    return whole ? image : nullptr;
}

int repeats;

template <class Make> int time_it(Make make)
{
    double ms[32];
    for (int r = 0; r < repeats; r++) {
        auto filter = make();
        double start = timing_now_ms();
        filter->Update();
        ms[r] = timing_now_ms() - start;
    }
    printf("%.3f\n", timing_median(ms, repeats));
    return 0;
}

template <class Filter, class Image> typename Filter::Pointer on(Image *image)
{
    auto filter = Filter::New();
    filter->SetInput(image);
    return filter;
}

int resample(Short *image, const std::string &name)
{
    using Interpolator = itk::InterpolateImageFunction<Short, double>;
    Interpolator::Pointer interpolator;
    if (name == "nearest")
        interpolator = itk::NearestNeighborInterpolateImageFunction<Short, double>::New().GetPointer();
    else if (name == "cubic")
        interpolator = itk::BSplineInterpolateImageFunction<Short, double, float>::New().GetPointer();
    return time_it([&] {
        auto transform = itk::AffineTransform<double, 3>::New();
        itk::AffineTransform<double, 3>::OutputVectorType axis;
        axis[0] = 0.1;
        axis[1] = 0.2;
        axis[2] = 0.97;
        transform->Rotate3D(axis, 0.12);
        auto filter = on<itk::ResampleImageFilter<Short, Short>>(image);
        filter->SetReferenceImage(image);
        filter->UseReferenceImageOn();
        filter->SetTransform(transform);
        if (interpolator)
            filter->SetInterpolator(interpolator);
        filter->SetDefaultPixelValue(-1000);
        return filter;
    });
}

int on_mask(Byte *bone, const std::string &name)
{
    if (name == "fill")
        return time_it([&] {
            auto filter = on<itk::BinaryFillholeImageFilter<Byte>>(bone);
            filter->SetForegroundValue(1);
            return filter;
        });
    if (name == "closing" || name == "closing4" || name == "closing8")
        return time_it([&] {
            using Ball = itk::BinaryBallStructuringElement<unsigned char, 3>;
            Ball ball;
            ball.SetRadius(name == "closing" ? 2 : name == "closing4" ? 4 : 8);
            ball.CreateStructuringElement();
            auto filter = on<itk::BinaryMorphologicalClosingImageFilter<Byte, Byte, Ball>>(bone);
            filter->SetKernel(ball);
            filter->SetForegroundValue(1);
            return filter;
        });
    if (name == "distance")
        return time_it([&] {
            auto filter = on<itk::SignedMaurerDistanceMapImageFilter<Byte, Float>>(bone);
            filter->SetSquaredDistance(false);
            filter->SetUseImageSpacing(true);
            return filter;
        });
    itk::ConnectedComponentImageFilter<Byte, Label>::Pointer find; // outlives the filter that reads from it
    return time_it([&] {                                           // components, numbered by size
        find = on<itk::ConnectedComponentImageFilter<Byte, Label>>(bone);
        auto sort = on<itk::RelabelComponentImageFilter<Label, Label>>(find->GetOutput());
        return sort;
    });
}

int on_image(Short *image, const std::string &name)
{
    if (name == "threshold")
        return time_it([&] {
            auto filter = on<itk::BinaryThresholdImageFilter<Short, Byte>>(image);
            filter->SetLowerThreshold(300);
            filter->SetUpperThreshold(3071);
            filter->SetInsideValue(1);
            return filter;
        });
    if (name == "otsu")
        return time_it([&] { return on<itk::OtsuThresholdImageFilter<Short, Byte>>(image); });
    if (name == "median")
        return time_it([&] {
            auto filter = on<itk::MedianImageFilter<Short, Short>>(image);
            filter->SetRadius(1);
            return filter;
        });
    if (name == "gaussian")
        return time_it([&] {
            auto filter = on<itk::SmoothingRecursiveGaussianImageFilter<Short, Float>>(image);
            filter->SetSigma(1.0);
            return filter;
        });
    if (name == "gradient")
        return time_it([&] {
            auto filter = on<itk::GradientMagnitudeRecursiveGaussianImageFilter<Short, Float>>(image);
            filter->SetSigma(1.0);
            return filter;
        });
    auto field = like<Float>(image);
    for (size_t i = 0; i < image->GetLargestPossibleRegion().GetNumberOfPixels(); i++)
        field->GetBufferPointer()[i] = image->GetBufferPointer()[i];
    return time_it([&] {
        auto filter = on<itk::CurvatureAnisotropicDiffusionImageFilter<Float, Float>>(field.GetPointer());
        filter->SetNumberOfIterations(2);
        filter->SetTimeStep(0.03);
        filter->SetConductanceParameter(3.0);
        return filter;
    });
}
} // namespace

int main(int argc, char **argv)
{
    int threads = argc > 3 ? atoi(argv[3]) : 0;
    repeats = argc > 4 ? atoi(argv[4]) : 1;
    if (threads < 1 || repeats < 1 || repeats > 32) {
        fprintf(stderr, "usage: bench_peer_image VOLUME.nii NAME THREADS [REPEATS]\n");
        return 2;
    }
    itk::MultiThreaderBase::SetGlobalMaximumNumberOfThreads(static_cast<itk::ThreadIdType>(threads));
    itk::MultiThreaderBase::SetGlobalDefaultNumberOfThreads(static_cast<itk::ThreadIdType>(threads));
    auto image = load(argv[1]);
    if (!image)
        return 1;
    std::string name = argv[2];
    if (name == "linear" || name == "nearest" || name == "cubic")
        return resample(image, name);
    if (name == "fill" || name.rfind("closing", 0) == 0 || name == "distance" || name == "components") {
        auto bone = like<Byte>(image.GetPointer());
        for (size_t i = 0; i < image->GetLargestPossibleRegion().GetNumberOfPixels(); i++)
            bone->GetBufferPointer()[i] = image->GetBufferPointer()[i] >= 300;
        return on_mask(bone, name);
    }
    return on_image(image, name);
}
