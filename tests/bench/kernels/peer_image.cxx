// ITK doing what image.c times: `bench_peer_image VOLUME.nii NAME THREADS [REPEATS]` prints the median in milliseconds.
// VOLUME is an int16 NIfTI file as kerf-job import writes it, of either version. The program is for the benchmark only.
#include "tests/bench/kernels/timing.h"

#include <itkAffineTransform.h>
#include <itkBSplineControlPointImageFilter.h>
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
#include <itkN4BiasFieldCorrectionImageFilter.h>
#include <itkNearestNeighborInterpolateImageFunction.h>
#include <itkOtsuThresholdImageFilter.h>
#include <itkRelabelComponentImageFilter.h>
#include <itkResampleImageFilter.h>
#include <itkShrinkImageFilter.h>
#include <itkSignedMaurerDistanceMapImageFilter.h>
#include <itkSmoothingRecursiveGaussianImageFilter.h>

#include <cmath>
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
    std::int64_t dim[3];
    double spacing[3];
    FILE *file = fopen(path, "rb");
    bool whole = file && fread(header, 1, sizeof header, file) == sizeof header;
    if (whole && memcmp(header + 4, "n+2", 3) == 0) {
        memcpy(dim, header + 24, sizeof dim);
        memcpy(spacing, header + 112, sizeof spacing);
    } else if (whole && memcmp(header + 344, "n+1", 3) == 0) {
        std::int16_t narrow[3];
        float step[3];
        memcpy(narrow, header + 42, sizeof narrow);
        memcpy(step, header + 80, sizeof step);
        std::copy(narrow, narrow + 3, dim);
        std::copy(step, step + 3, spacing);
    } else {
        if (file)
            fclose(file);
        return nullptr;
    }
    auto image = Short::New();
    Short::SizeType size;
    for (unsigned a = 0; a < 3; a++)
        size[a] = static_cast<Short::SizeType::SizeValueType>(dim[a]);
    image->SetRegions(size);
    image->SetSpacing(spacing);
    image->Allocate();
    size_t voxels = image->GetLargestPossibleRegion().GetNumberOfPixels();
    whole = fread(image->GetBufferPointer(), 2, voxels, file) == voxels;
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
// As in image.c: the head with a coil's gain.
double bias_gain(const Short::SizeType &size, size_t n)
{
    double x = double(n % size[0]) / double(size[0]), y = double(n / size[0] % size[1]) / double(size[1]);
    double z = double(n / size[0] / size[1]) / double(size[2]);
    return 0.5 * x - 0.35 * y + 0.45 * z;
}

template <class Image> typename Image::Pointer shrunken(const Image *image)
{
    auto shrink = itk::ShrinkImageFilter<Image, Image>::New();
    shrink->SetInput(image);
    for (unsigned a = 0; a < 3; a++)
        shrink->SetShrinkFactor(a, unsigned(std::fmax(1, std::floor(4 / image->GetSpacing()[a] + 0.5))));
    shrink->Update();
    return shrink->GetOutput();
}

// N4 on the shrunken image, and its field at full size, as ANTs and Slicer do it.
int bias(const Short *image)
{
    using N4 = itk::N4BiasFieldCorrectionImageFilter<Float, Byte, Float>;
    using Field = itk::BSplineControlPointImageFilter<N4::BiasFieldControlPointLatticeType, N4::ScalarImageType>;
    auto size = image->GetLargestPossibleRegion().GetSize();
    size_t voxels = image->GetLargestPossibleRegion().GetNumberOfPixels();
    auto shaded = like<Float>(image);
    auto mask = like<Byte>(image);
    for (size_t n = 0; n < voxels; n++) {
        double value = image->GetBufferPointer()[n] + 1024;
        shaded->GetBufferPointer()[n] = float((value > 0 ? value : 0) * std::exp(bias_gain(size, n)));
        mask->GetBufferPointer()[n] = image->GetBufferPointer()[n] > -524;
    }
    double ms[32];
    for (int r = 0; r < repeats; r++) {
        double start = timing_now_ms();
        auto n4 = N4::New();
        N4::VariableSizeArrayType iterations(3);
        iterations.Fill(50);
        n4->SetInput(shrunken(shaded.GetPointer()));
        n4->SetMaskImage(shrunken(mask.GetPointer()));
        n4->SetMaskLabel(1);
        n4->SetNumberOfFittingLevels(3);
        n4->SetMaximumNumberOfIterations(iterations);
        n4->SetConvergenceThreshold(0.001);
        n4->Update();
        auto field = Field::New();
        field->SetInput(n4->GetLogBiasFieldControlPointLattice());
        field->SetSplineOrder(n4->GetSplineOrder());
        field->SetSize(size);
        field->SetOrigin(shaded->GetOrigin());
        field->SetSpacing(shaded->GetSpacing());
        field->SetDirection(shaded->GetDirection());
        field->Update();
        ms[r] = timing_now_ms() - start;
        double sum = 0, square = 0, used = 0;
        for (size_t n = 0; n < voxels && r == 0; n++)
            if (mask->GetBufferPointer()[n]) {
                double d = double(field->GetOutput()->GetBufferPointer()[n][0]) - bias_gain(size, n);
                sum += d, square += d * d, used++;
            }
        if (r == 0)
            fprintf(stderr, "gain left, RMS of the logarithm: %.4f\n", std::sqrt(square / used - sum / used * (sum / used)));
    }
    printf("%.3f\n", timing_median(ms, repeats));
    return 0;
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
    if (name == "bias")
        return bias(image);
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
