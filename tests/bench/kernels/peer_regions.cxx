// ITK's fast marching and watershed from markers, and a textbook Dijkstra for grow-from-seeds: peers of bench_regions.
#include "tests/bench/kernels/regions_input.h"

#include <itkFastMarchingImageFilter.h>
#include <itkImage.h>
#include <itkMorphologicalWatershedFromMarkersImageFilter.h>

#include <functional>
#include <queue>
#include <string>
#include <vector>

template <class Image> static typename Image::Pointer image_of(const bench_input &in, const void *data)
{
    auto image = Image::New();
    typename Image::SizeType size = {{(size_t)in.dim[0], (size_t)in.dim[1], (size_t)in.dim[2]}};
    image->SetRegions(size);
    image->SetSpacing(in.spacing);
    image->Allocate();
    memcpy(image->GetBufferPointer(), data, (size_t)in.voxels * sizeof(typename Image::PixelType));
    return image;
}

static void march(const bench_input &in)
{
    using Image = itk::Image<float, 3>;
    using Filter = itk::FastMarchingImageFilter<Image, Image>;
    float *speed = bench_speed(&in);
    auto image = image_of<Image>(in, speed);
    auto seeds = Filter::NodeContainer::New();
    Filter::NodeType node;
    int64_t v = bench_middle(&in);
    Image::IndexType at = {{v % in.dim[0], v / in.dim[0] % in.dim[1], v / in.dim[0] / in.dim[1]}};
    node.SetValue(0);
    node.SetIndex(at);
    seeds->Initialize();
    seeds->InsertElement(0, node);
    auto filter = Filter::New();
    filter->SetTrialPoints(seeds);
    filter->SetInput(image);
    filter->SetStoppingValue(1e9);
    double start = bench_ms();
    filter->Update();
    double spent = bench_ms() - start, sum = 0;
    for (int64_t n = 0; n < in.voxels; n++)
        sum += filter->GetOutput()->GetBufferPointer()[n];
    printf("%f %.9g\n", spent, sum / (double)in.voxels);
    free(speed);
}

static void watershed(const bench_input &in)
{
    using Relief = itk::Image<short, 3>;
    using Labels = itk::Image<unsigned char, 3>;
    int16_t *relief = bench_relief(&in);
    uint8_t *seeds = bench_seeds(&in, 500);
    auto filter = itk::MorphologicalWatershedFromMarkersImageFilter<Relief, Labels>::New();
    filter->SetInput(image_of<Relief>(in, relief));
    filter->SetMarkerImage(image_of<Labels>(in, seeds));
    filter->SetMarkWatershedLine(false);
    double start = bench_ms();
    filter->Update();
    double spent = bench_ms() - start;
    int64_t count = 0;
    for (int64_t n = 0; n < in.voxels; n++)
        count += filter->GetOutput()->GetBufferPointer()[n] == 1;
    printf("%f %.9g\n", spent, (double)count);
    free(relief);
    free(seeds);
}

static void grow(const bench_input &in, bool faces)
{
    struct entry {
        uint32_t cost, voxel;
        bool operator>(const entry &other) const
        {
            return cost > other.cost;
        }
    };
    uint8_t *label = bench_seeds(&in, 500);
    std::vector<uint32_t> cost((size_t)in.voxels, UINT32_MAX);
    double start = bench_ms();
    std::priority_queue<entry, std::vector<entry>, std::greater<entry>> queue;
    for (int64_t v = 0; v < in.voxels; v++)
        if (label[v]) {
            cost[(size_t)v] = 0;
            queue.push({0, (uint32_t)v});
        }
    while (!queue.empty()) {
        entry e = queue.top();
        queue.pop();
        if (e.cost > cost[e.voxel])
            continue;
        int64_t i = e.voxel % in.dim[0], j = e.voxel / in.dim[0] % in.dim[1], k = e.voxel / in.dim[0] / in.dim[1];
        for (int n = 0; n < 27; n++) {
            int64_t x = i + n % 3 - 1, y = j + n / 3 % 3 - 1, z = k + n / 9 - 1;
            if (n == 13 || (faces && (n % 3 != 1) + (n / 3 % 3 != 1) + (n / 9 != 1) > 1) || x < 0 || y < 0 || z < 0 ||
                x >= in.dim[0] || y >= in.dim[1] || z >= in.dim[2])
                continue;
            int64_t u = x + in.dim[0] * (y + in.dim[1] * z);
            uint32_t sum = e.cost + 1 + (uint32_t)abs(in.value[u] - in.value[e.voxel]);
            if (sum < cost[(size_t)u]) {
                cost[(size_t)u] = sum;
                label[u] = label[e.voxel];
                queue.push({sum, (uint32_t)u});
            }
        }
    }
    double spent = bench_ms() - start;
    int64_t count = 0;
    for (int64_t n = 0; n < in.voxels; n++)
        count += label[n] == 1;
    printf("%f %.9g\n", spent, (double)count);
    free(label);
}

int main(int argc, char **argv)
{
    int threads, repeats;
    bench_input in = bench_arguments(argc, argv, &threads, &repeats);
    itk::MultiThreaderBase::SetGlobalMaximumNumberOfThreads((itk::ThreadIdType)threads);
    itk::MultiThreaderBase::SetGlobalDefaultNumberOfThreads((itk::ThreadIdType)threads);
    std::string name = argv[2];
    if (name == "march")
        march(in);
    else if (name == "watershed")
        watershed(in);
    else if (name == "grow6" || name == "grow26")
        grow(in, name == "grow6");
    else
        return 2;
    return 0;
}
