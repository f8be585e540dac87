// Surface kernels beside VTK, meshoptimizer and CGAL, in one process: bench_mesh VOLUME.raw LABELS.raw NX NY NZ SX SY SZ
// [NAME,NAME…]: int16 voxels and uint8 labels, spacing in mm. Peer and ours alternate; the best of a few runs counts.
// Lines: bench NAME SIZE THREADS PEER PEER_MS OUR_MS RATIO TARGET NOTE, with tabs between.
extern "C" {
#include "workers/io/memory.h"
#include "workers/kernels/mesh_distance.h"
#include "workers/kernels/mesh_intersect.h"
#include "workers/kernels/mesh_repair.h"
#include "workers/kernels/mesh_thickness.h"
#include "workers/kernels/surface.h"
#include "workers/kernels/surface_labels.h"
#include "workers/mesh3p/meshopt.h"
}

#include <CGAL/Exact_predicates_inexact_constructions_kernel.h>
#include <CGAL/Polygon_mesh_processing/self_intersections.h>
#include <CGAL/Surface_mesh.h>
#include <vtkCellArray.h>
#include <vtkCleanPolyData.h>
#include <vtkDiscreteFlyingEdges3D.h>
#include <vtkFloatArray.h>
#include <vtkFlyingEdges3D.h>
#include <vtkImageData.h>
#include <vtkNew.h>
#include <vtkPointData.h>
#include <vtkPolyData.h>
#include <vtkPolyDataConnectivityFilter.h>
#include <vtkPolyDataNormals.h>
#include <vtkQuadricDecimation.h>
#include <vtkSMPTools.h>
#include <vtkShortArray.h>
#include <vtkUnsignedCharArray.h>
#include <vtkWindowedSincPolyDataFilter.h>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

namespace {

const double ISO = 300;
const int LABEL_FIRST = 2, LABEL_COUNT = 8;

struct input {
    kf_volume grey{}, labels{};
    vtkNew<vtkImageData> vtk_grey, vtk_labels;
    std::string only;
};

double now_ms()
{
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void must(kf_kernel_status status)
{
    if (status) {
        fprintf(stderr, "a kernel failed: %d\n", (int)status);
        exit(1);
    }
}

using action = std::function<double()>; // does it and says how many ms it took

// Alternates, so that a busy machine is busy for both.
void measure(const char *name, const std::string &size, int threads, const char *peer, double target, int runs,
             const action &theirs, const action &ours, const std::string &note)
{
    double best[2] = {1e30, 1e30};
    for (int r = 0; r < runs; r++) {
        best[0] = std::min(best[0], theirs());
        best[1] = std::min(best[1], ours());
    }
    printf("bench\t%s\t%s\t%d\t%s\t%.2f\t%.2f\t%.2f\t%g\t%s\n", name, size.c_str(), threads, peer, best[0], best[1],
           best[0] / best[1], target, note.c_str());
    fflush(stdout);
}

bool wanted(const input &in, const char *name)
{
    return in.only.empty() || ("," + in.only + ",").find(std::string(",") + name + ",") != std::string::npos;
}

template <class Filter> double timed(Filter *filter)
{
    double start = now_ms();
    filter->Update();
    return now_ms() - start;
}

std::string words(const char *format, double a, double b)
{
    char text[160];
    snprintf(text, sizeof text, format, a, b);
    return text;
}

std::string size_of(const kf_mesh &m)
{
    return std::to_string(m.triangles / 1000) + "k";
}

kf_mesh copy_of(const kf_work &work, const kf_mesh &m)
{
    kf_mesh c = m;
    c.xyz = static_cast<float *>(kf_work_take(&work, m.vertices * 12));
    c.index = static_cast<uint32_t *>(kf_work_take(&work, m.triangles * 12));
    memcpy(c.xyz, m.xyz, (size_t)m.vertices * 12);
    memcpy(c.index, m.index, (size_t)m.triangles * 12);
    return c;
}

vtkSmartPointer<vtkPolyData> to_vtk(const kf_mesh &m)
{
    auto out = vtkSmartPointer<vtkPolyData>::New();
    vtkNew<vtkPoints> points;
    vtkNew<vtkFloatArray> xyz;
    vtkNew<vtkCellArray> cells;
    xyz->SetNumberOfComponents(3);
    xyz->SetNumberOfTuples(m.vertices);
    memcpy(xyz->GetPointer(0), m.xyz, (size_t)m.vertices * 12);
    points->SetData(xyz);
    for (int64_t t = 0; t < m.triangles; t++) {
        const vtkIdType id[3] = {m.index[3 * t], m.index[3 * t + 1], m.index[3 * t + 2]};
        cells->InsertNextCell(3, id);
    }
    out->SetPoints(points);
    out->SetPolys(cells);
    return out;
}

kf_mesh from_vtk(const kf_work &work, vtkPolyData *p)
{
    kf_mesh m{};
    m.vertices = p->GetNumberOfPoints();
    m.triangles = p->GetNumberOfPolys();
    m.xyz = static_cast<float *>(kf_work_take(&work, m.vertices * 12));
    m.index = static_cast<uint32_t *>(kf_work_take(&work, m.triangles * 12));
    for (vtkIdType v = 0; v < m.vertices; v++)
        for (int r = 0; r < 3; r++)
            m.xyz[3 * v + r] = (float)p->GetPoint(v)[r];
    for (vtkIdType t = 0; t < m.triangles; t++) {
        vtkIdType n;
        const vtkIdType *id;
        p->GetPolys()->GetCellAtId(t, n, id);
        for (int c = 0; c < 3; c++)
            m.index[3 * t + c] = (uint32_t)id[c];
    }
    return m;
}

kf_mesh isosurface(const kf_work &work, const input &in, int cap)
{
    kf_bits bits{};
    kf_mesh mesh{};
    kf_surface_input how{};
    must(kf_bits_alloc(&work, in.grey.grid.dim, &bits));
    must(kf_bits_threshold(&work, &in.grey, ISO, 1e9, &bits));
    how.inside = &bits;
    how.grid = &in.grey.grid;
    how.grey = &in.grey;
    how.iso = ISO;
    how.cap = cap;
    must(kf_surface(&work, &how, &mesh));
    kf_bits_release(&work, &bits);
    return mesh;
}

void bench_isosurface(input &in, const kf_work &work)
{
    int64_t triangles[2] = {0, 0};
    measure("isosurface", std::to_string(in.grey.grid.dim[0]), work.threads, "vtkFlyingEdges3D", 4, 3,
            [&] {
                vtkNew<vtkFlyingEdges3D> f;
                f->SetInputData(in.vtk_grey);
                f->SetValue(0, ISO);
                f->ComputeNormalsOff();
                f->ComputeGradientsOff();
                f->ComputeScalarsOff();
                double ms = timed(f.Get());
                triangles[0] = f->GetOutput()->GetNumberOfPolys();
                return ms;
            },
            [&] {
                double start = now_ms();
                kf_mesh m = isosurface(work, in, 0); // theirs is open, too
                double ms = now_ms() - start;
                triangles[1] = m.triangles;
                kf_mesh_release(&work, &m);
                return ms;
            },
            "threshold and surface; manifold");
    printf("# isosurface: %lld triangles, theirs %lld\n", (long long)triangles[1], (long long)triangles[0]);
}

void bench_labels(input &in, const kf_work &work)
{
    measure("labels8", std::to_string(in.grey.grid.dim[0]), work.threads, "vtkDiscreteFlyingEdges3D", 8, 2,
            [&] {
                vtkNew<vtkDiscreteFlyingEdges3D> f;
                f->SetInputData(in.vtk_labels);
                for (int k = 0; k < LABEL_COUNT; k++)
                    f->SetValue(k, LABEL_FIRST + k);
                f->ComputeNormalsOff();
                f->ComputeGradientsOff();
                f->ComputeScalarsOn();
                return timed(f.Get());
            },
            [&] {
                kf_surface_labels_input how{};
                struct kf_surface_labels net{};
                how.labels = &in.labels;
                double start = now_ms();
                must(kf_surface_labels(&work, &how, &net));
                for (int k = 0; k < LABEL_COUNT; k++) {
                    kf_mesh m{};
                    must(kf_surface_labels_mesh(&work, &net, LABEL_FIRST + k, &m));
                    kf_mesh_release(&work, &m);
                }
                kf_surface_labels_release(&work, &net);
                return now_ms() - start;
            },
            "ours: net of all labels, then 8 closed surfaces");
}

// Root mean square distance of a vertex from the mean of its neighbours: what smoothing takes away.
double roughness(const kf_mesh &m)
{
    std::vector<double> sum(3 * (size_t)m.vertices), count((size_t)m.vertices);
    for (int64_t c = 0; c < 3 * m.triangles; c++) {
        size_t a = m.index[c], b = m.index[c % 3 == 2 ? c - 2 : c + 1];
        for (int r = 0; r < 3; r++)
            sum[3 * a + r] += (double)m.xyz[3 * b + r];
        count[a]++;
    }
    double all = 0;
    for (size_t v = 0; v < (size_t)m.vertices; v++)
        for (int r = 0; r < 3 && count[v]; r++)
            all += std::pow(sum[3 * v + r] / count[v] - (double)m.xyz[3 * v + r], 2);
    return std::sqrt(all / (double)m.vertices);
}

double volume_of(const kf_work &work, const kf_mesh &m)
{
    double volume, area;
    kf_mesh_measure(&work, &m, &volume, &area);
    return volume;
}

// Leaves the smooth surface in `mesh`.
void bench_smooth(const kf_work &work, kf_mesh &mesh)
{
    auto peer_in = to_vtk(mesh);
    kf_mesh theirs{}, ours{};
    double before = volume_of(work, mesh);
    measure("smooth", size_of(mesh), work.threads, "vtkWindowedSinc 20", 4, 3,
            [&] {
                vtkNew<vtkWindowedSincPolyDataFilter> f;
                f->SetInputData(peer_in);
                f->SetNumberOfIterations(20);
                f->SetPassBand(0.1);
                f->BoundarySmoothingOff();
                f->FeatureEdgeSmoothingOff();
                f->NonManifoldSmoothingOn();
                f->NormalizeCoordinatesOn();
                double ms = timed(f.Get());
                kf_mesh_release(&work, &theirs);
                theirs = from_vtk(work, f->GetOutput());
                return ms;
            },
            [&] {
                struct kf_mesh_smooth how{};
                how.iterations = 22;
                how.pass_band = 0.04;
                how.keep_volume = 1;
                kf_mesh_release(&work, &ours);
                ours = copy_of(work, mesh);
                double start = now_ms();
                must(kf_mesh_smooth(&work, &ours, &how));
                return now_ms() - start;
            },
            "22 pairs of steps: nearly as smooth, volume kept");
    printf("# smooth: roughness mm before %.4f, theirs %.4f, ours %.4f; volume change %% theirs %.4f, ours %.4f\n",
           roughness(mesh), roughness(theirs), roughness(ours), 100 * (volume_of(work, theirs) / before - 1),
           100 * (volume_of(work, ours) / before - 1));
    kf_mesh_release(&work, &theirs);
    kf_mesh_release(&work, &mesh);
    mesh = ours;
}

double hausdorff(const kf_work &work, const kf_mesh &a, const kf_mesh &b)
{
    kf_mesh_distance_how how = {0, 0.05};
    struct kf_mesh_distance d;
    must(kf_mesh_distance(&work, &a, &b, &how, &d));
    return d.hausdorff_high_mm;
}

void bench_decimate(const kf_work &work, const kf_mesh &mesh, bool quadric)
{
    int64_t goal = mesh.triangles * 15 / 100;
    kf_mesh theirs{}, ours{};
    double reached;
    action us = [&] {
        struct kf_mesh_decimate how = {goal, 1e3};
        kf_mesh_release(&work, &ours);
        ours = copy_of(work, mesh);
        double start = now_ms();
        must(kf_mesh_decimate(&work, &ours, &how, &reached));
        return now_ms() - start;
    };
    measure("decimate15", size_of(mesh), work.threads, "meshopt_simplify", 1.5, 2,
            [&] {
                kf_mesh_release(&work, &theirs);
                double start = now_ms();
                must(kf_mesh3p_simplify(&work, &mesh, goal, 1e3, &theirs, &reached));
                return now_ms() - start;
            },
            us, "theirs has one thread");
    if (work.threads == 1)
        printf("# decimate15: triangles theirs %lld, ours %lld; Hausdorff mm at most theirs %.3f, ours %.3f\n",
               (long long)theirs.triangles, (long long)ours.triangles, hausdorff(work, mesh, theirs),
               hausdorff(work, mesh, ours));
    kf_mesh_release(&work, &theirs);
    if (quadric) {
        auto peer_in = to_vtk(mesh);
        measure("decimate15 quadric", size_of(mesh), work.threads, "vtkQuadricDecimation", 15, 1,
                [&] {
                    vtkNew<vtkQuadricDecimation> f;
                    f->SetInputData(peer_in);
                    f->SetTargetReduction(0.85);
                    return timed(f.Get());
                },
                us, "theirs has one thread");
    }
    kf_mesh_release(&work, &ours);
}

void bench_self(const kf_work &work, const kf_mesh &mesh)
{
    using Kernel = CGAL::Exact_predicates_inexact_constructions_kernel;
    using Surface = CGAL::Surface_mesh<Kernel::Point_3>;
    Surface s;
    std::vector<Surface::Vertex_index> id;
    for (int64_t v = 0; v < mesh.vertices; v++)
        id.push_back(s.add_vertex({(double)mesh.xyz[3 * v], (double)mesh.xyz[3 * v + 1], (double)mesh.xyz[3 * v + 2]}));
    for (int64_t t = 0; t < mesh.triangles; t++)
        s.add_face(id[mesh.index[3 * t]], id[mesh.index[3 * t + 1]], id[mesh.index[3 * t + 2]]);
    size_t theirs = 0;
    int64_t ours = 0;
    measure("self intersections", size_of(mesh), work.threads, "CGAL", 5, 2,
            [&] {
                std::vector<std::pair<Surface::Face_index, Surface::Face_index>> pairs;
                double start = now_ms();
                CGAL::Polygon_mesh_processing::self_intersections(s, std::back_inserter(pairs));
                theirs = pairs.size();
                return now_ms() - start;
            },
            [&] {
                kf_mesh_intersections found{};
                double start = now_ms();
                must(kf_mesh_intersect(&work, &mesh, 0, &found));
                double ms = now_ms() - start;
                ours = found.pairs;
                kf_work_give(&work, found.pair);
                return ms;
            },
            "theirs has one thread");
    printf("# self intersections: pairs theirs %zu, ours %lld\n", theirs, (long long)ours);
}

void bench_small(const kf_work &work, const kf_mesh &mesh)
{
    auto peer_in = to_vtk(mesh);
    std::vector<float> normals(3 * (size_t)mesh.vertices);
    measure("normals", size_of(mesh), work.threads, "vtkPolyDataNormals", 4, 2,
            [&] {
                vtkNew<vtkPolyDataNormals> f;
                f->SetInputData(peer_in);
                f->SplittingOff();
                f->ConsistencyOff();
                return timed(f.Get());
            },
            [&] {
                double start = now_ms();
                must(kf_mesh_normals(&work, &mesh, normals.data()));
                return now_ms() - start;
            },
            "");
    measure("drop pieces", size_of(mesh), work.threads, "vtkPolyDataConnectivityFilter", 4, 2,
            [&] {
                vtkNew<vtkPolyDataConnectivityFilter> f;
                f->SetInputData(peer_in);
                f->SetExtractionModeToLargestRegion();
                return timed(f.Get());
            },
            [&] {
                kf_mesh m = copy_of(work, mesh);
                double start = now_ms();
                must(kf_mesh_drop_small(&work, &m, 1, nullptr));
                double ms = now_ms() - start;
                kf_mesh_release(&work, &m);
                return ms;
            },
            "");
    measure("weld", size_of(mesh), work.threads, "vtkCleanPolyData", 4, 2,
            [&] {
                vtkNew<vtkCleanPolyData> f;
                f->SetInputData(peer_in);
                f->SetTolerance(0);
                return timed(f.Get());
            },
            [&] {
                kf_mesh m = copy_of(work, mesh);
                double start = now_ms();
                must(kf_mesh_weld(&work, &m));
                double ms = now_ms() - start;
                kf_mesh_release(&work, &m);
                return ms;
            },
            "");
}

void load(const char *path, const char *const *size, kf_voxel_type type, kf_volume &v, vtkImageData *image)
{
    for (int a = 0; a < 3; a++) {
        v.grid.dim[a] = atoll(size[a]);
        v.grid.spacing_mm[a] = atof(size[3 + a]);
        v.grid.direction[4 * a] = 1;
    }
    v.type = type;
    int64_t n = kf_grid_voxels(&v.grid);
    v.data = kf_memory_take(n * kf_voxel_bytes(type));
    FILE *f = fopen(path, "rb");
    if (!v.data || !f || fread(v.data, (size_t)kf_voxel_bytes(type), (size_t)n, f) != (size_t)n) {
        fprintf(stderr, "a volume cannot be read\n");
        exit(1);
    }
    fclose(f);
    image->SetDimensions((int)v.grid.dim[0], (int)v.grid.dim[1], (int)v.grid.dim[2]);
    image->SetSpacing(v.grid.spacing_mm);
    if (type == KF_VOXEL_INT16) {
        vtkNew<vtkShortArray> a;
        a->SetArray(static_cast<short *>(v.data), n, 1);
        image->GetPointData()->SetScalars(a);
    } else {
        vtkNew<vtkUnsignedCharArray> a;
        a->SetArray(static_cast<unsigned char *>(v.data), n, 1);
        image->GetPointData()->SetScalars(a);
    }
}

} // namespace

int main(int argc, char **argv)
{
    if (argc < 9) {
        fprintf(stderr, "usage: bench_mesh VOLUME.raw LABELS.raw NX NY NZ SX SY SZ [NAMES]\n");
        return 2;
    }
    input in;
    in.only = argc > 9 ? argv[9] : "";
    load(argv[1], argv + 3, KF_VOXEL_INT16, in.grey, in.vtk_grey);
    load(argv[2], argv + 3, KF_VOXEL_UINT8, in.labels, in.vtk_labels);
    for (int threads = 1; threads <= 2; threads++) {
        kf_work work;
        kf_work_init(&work, threads);
        vtkSMPTools::Initialize(threads);
        if (wanted(in, "isosurface"))
            bench_isosurface(in, work);
        if (wanted(in, "labels8"))
            bench_labels(in, work);
        if (!wanted(in, "smooth") && !wanted(in, "decimate") && !wanted(in, "self") && !wanted(in, "small"))
            continue;
        kf_mesh mesh = isosurface(work, in, 1);
        must(kf_mesh_drop_small(&work, &mesh, 1000, nullptr));
        bench_smooth(work, mesh);
        if (wanted(in, "decimate"))
            bench_decimate(work, mesh, threads == 1 && wanted(in, "quadric"));
        if (wanted(in, "self"))
            bench_self(work, mesh);
        if (wanted(in, "small"))
            bench_small(work, mesh);
        kf_mesh_release(&work, &mesh);
    }
    return 0;
}
