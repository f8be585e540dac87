// Surface kernels beside VTK, meshoptimizer and CGAL, in one process: bench_mesh HEAD256.nii HEAD512.nii THREADS
// [NAME,NAME…], what kernels.sh runs; the labels are read from HEAD….labels.nii. Peer and ours alternate; the best of a
// few runs counts. The small volume is for peers that would take minutes with the large one. Lines: bench NAME SIZE
// THREADS PEER PEER_MS OUR_MS RATIO TARGET NOTE, with tabs between.
extern "C" {
#include "workers/io/memory.h"
#include "workers/io/nifti.h"
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

#include <algorithm>
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
const int LABEL_COUNT = 8;

struct input {
    std::string name, only;
    kf_volume grey{}, labels{};
    int label[LABEL_COUNT]; // those with the most voxels
    vtkNew<vtkImageData> vtk_grey, vtk_labels;
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
             const action &theirs, const action &ours, const std::function<std::string()> &note)
{
    double best[2] = {1e30, 1e30};
    for (int r = 0; r < runs; r++) {
        best[0] = std::min(best[0], theirs());
        best[1] = std::min(best[1], ours());
    }
    printf("bench\t%s\t%s\t%d\t%s\t%.2f\t%.2f\t%.2f\t%g\t%s\n", name, size.c_str(), threads, peer, best[0], best[1],
           best[0] / best[1], target, note().c_str());
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

template <class... Values> std::string words(const char *format, Values... values)
{
    char text[240];
    snprintf(text, sizeof text, format, values...);
    return text;
}

std::string thousands(int64_t triangles)
{
    return std::to_string(triangles / 1000) + "k triangles";
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
    measure(
        "isosurface", in.name, work.threads, "vtkFlyingEdges3D", 4, 3,
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
        [&] {
            return words("threshold and surface, manifold: %lldk triangles, theirs %lldk",
                         (long long)triangles[1] / 1000, (long long)triangles[0] / 1000);
        });
}

void bench_labels(input &in, const kf_work &work)
{
    int64_t triangles[2] = {0, 0};
    measure(
        "labels8", in.name, work.threads, "vtkDiscreteFlyingEdges3D", 8, 2,
        [&] {
            vtkNew<vtkDiscreteFlyingEdges3D> f;
            f->SetInputData(in.vtk_labels);
            for (int k = 0; k < LABEL_COUNT; k++)
                f->SetValue(k, in.label[k]);
            f->ComputeNormalsOff();
            f->ComputeGradientsOff();
            f->ComputeScalarsOn();
            double ms = timed(f.Get());
            triangles[0] = f->GetOutput()->GetNumberOfPolys();
            return ms;
        },
        [&] {
            kf_surface_labels_input how{};
            struct kf_surface_labels net {};
            how.labels = &in.labels;
            triangles[1] = 0;
            double start = now_ms();
            must(kf_surface_labels(&work, &how, &net));
            for (int label : in.label) {
                kf_mesh m{};
                must(kf_surface_labels_mesh(&work, &net, label, &m));
                triangles[1] += m.triangles;
                kf_mesh_release(&work, &m);
            }
            kf_surface_labels_release(&work, &net);
            return now_ms() - start;
        },
        [&] {
            return words("net of all labels, then 8 closed surfaces: %lldk triangles, theirs %lldk, open",
                         (long long)triangles[1] / 1000, (long long)triangles[0] / 1000);
        });
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
void bench_smooth(const input &in, const kf_work &work, kf_mesh &mesh)
{
    auto peer_in = to_vtk(mesh);
    kf_mesh theirs{}, ours{};
    double before = volume_of(work, mesh);
    measure(
        "smooth", in.name, work.threads, "vtkWindowedSinc 20", 4, 3,
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
            struct kf_mesh_smooth how {};
            how.passes = 10;
            how.pass_band = 0.2;
            how.keep_volume = 1;
            kf_mesh_release(&work, &ours);
            ours = copy_of(work, mesh);
            double start = now_ms();
            must(kf_mesh_smooth(&work, &ours, &how));
            return now_ms() - start;
        },
        [&] {
            return words("%s; roughness %.4f mm, theirs %.4f, before %.4f; volume %+.4f %%, theirs %+.4f %%",
                         thousands(mesh.triangles).c_str(), roughness(ours), roughness(theirs), roughness(mesh),
                         100 * (volume_of(work, ours) / before - 1), 100 * (volume_of(work, theirs) / before - 1));
        });
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

// Ours; *out is owned.
action decimation(const kf_work &work, const kf_mesh &mesh, int64_t goal, kf_mesh &out)
{
    return [&work, &mesh, goal, &out] {
        struct kf_mesh_decimate how = {goal, 1e3};
        double reached;
        kf_mesh_release(&work, &out);
        out = copy_of(work, mesh);
        double start = now_ms();
        must(kf_mesh_decimate(&work, &out, &how, &reached));
        return now_ms() - start;
    };
}

void bench_decimate(const input &in, const kf_work &work, const kf_mesh &mesh)
{
    int64_t goal = mesh.triangles * 15 / 100;
    kf_mesh theirs{}, ours{};
    double reached;
    measure(
        "decimate15", in.name, work.threads, "meshopt_simplify", 1.5, 2,
        [&] {
            kf_mesh_release(&work, &theirs);
            double start = now_ms();
            must(kf_mesh3p_simplify(&work, &mesh, goal, 1e3, &theirs, &reached));
            return now_ms() - start;
        },
        decimation(work, mesh, goal, ours),
        [&] {
            std::string note = words("%s to %lldk, theirs %lldk, 1 thread", thousands(mesh.triangles).c_str(),
                                     (long long)ours.triangles / 1000, (long long)theirs.triangles / 1000);
            if (work.threads == 1) // the same mesh for any number of threads
                note += words("; Hausdorff at most %.3f mm, theirs %.3f", hausdorff(work, mesh, ours),
                              hausdorff(work, mesh, theirs));
            return note;
        });
    kf_mesh_release(&work, &theirs);
    kf_mesh_release(&work, &ours);
}

void bench_quadric(const input &in, const kf_work &work, const kf_mesh &mesh)
{
    auto peer_in = to_vtk(mesh);
    int64_t goal = mesh.triangles * 15 / 100;
    kf_mesh theirs{}, ours{};
    measure(
        "decimate15-quadric", in.name, work.threads, "vtkQuadricDecimation", 15, 1,
        [&] {
            vtkNew<vtkQuadricDecimation> f;
            f->SetInputData(peer_in);
            f->SetTargetReduction(0.85);
            double ms = timed(f.Get());
            theirs = from_vtk(work, f->GetOutput());
            return ms;
        },
        decimation(work, mesh, goal, ours),
        [&] {
            return words("%s, theirs 1 thread; Hausdorff at most %.3f mm, theirs %.3f",
                         thousands(mesh.triangles).c_str(), hausdorff(work, mesh, ours), hausdorff(work, mesh, theirs));
        });
    kf_mesh_release(&work, &theirs);
    kf_mesh_release(&work, &ours);
}

void bench_self(const input &in, const kf_work &work, const kf_mesh &mesh)
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
    measure(
        "self-intersections", in.name, work.threads, "CGAL", 5, 2,
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
        [&] {
            return words("%s: %lld pairs, theirs %zu, 1 thread", thousands(mesh.triangles).c_str(), (long long)ours,
                         theirs);
        });
}

void bench_small(const input &in, const kf_work &work, const kf_mesh &mesh)
{
    auto peer_in = to_vtk(mesh);
    std::vector<float> normals(3 * (size_t)mesh.vertices);
    measure(
        "normals", in.name, work.threads, "vtkPolyDataNormals", 4, 2,
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
        [&] { return thousands(mesh.triangles); });
    measure(
        "drop-pieces", in.name, work.threads, "vtkPolyDataConnectivityFilter", 4, 2,
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
        [&] { return thousands(mesh.triangles); });
    measure(
        "weld", in.name, work.threads, "vtkCleanPolyData", 4, 2,
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
        [&] { return thousands(mesh.triangles); });
}

void attach(kf_volume &v, vtkImageData *image)
{
    int64_t n = kf_grid_voxels(&v.grid);
    image->SetDimensions((int)v.grid.dim[0], (int)v.grid.dim[1], (int)v.grid.dim[2]);
    image->SetSpacing(v.grid.spacing_mm);
    if (v.type == KF_VOXEL_INT16) {
        vtkNew<vtkShortArray> a;
        a->SetArray(static_cast<short *>(v.data), n, 1);
        image->GetPointData()->SetScalars(a);
    } else {
        vtkNew<vtkUnsignedCharArray> a;
        a->SetArray(static_cast<unsigned char *>(v.data), n, 1);
        image->GetPointData()->SetScalars(a);
    }
}

void load(const std::string &path, input &in)
{
    std::string stem = path.substr(0, path.rfind(".nii"));
    kf_error err;
    if (kf_nifti_read(nullptr, path.c_str(), 0, -1, KF_NIFTI_IMAGE, &in.grey, &err) ||
        kf_nifti_read(nullptr, (stem + ".labels.nii").c_str(), 0, -1, KF_NIFTI_LABELS, &in.labels, &err) ||
        in.grey.type != KF_VOXEL_INT16) {
        fprintf(stderr, "%s: the volume or its labels cannot be read\n", path.c_str());
        exit(1);
    }
    in.name = stem.substr(stem.rfind('/') + 1);
    attach(in.grey, in.vtk_grey);
    attach(in.labels, in.vtk_labels);
    int64_t count[256] = {0};
    for (int64_t v = 0, n = kf_grid_voxels(&in.labels.grid); v < n; v++)
        count[static_cast<uint8_t *>(in.labels.data)[v]]++;
    for (int &label : in.label) {
        label = (int)(std::max_element(count + 1, count + 256) - count);
        count[label] = -1;
    }
}

// The large volume: what is fast in the peer, too.
void bench_large(input &in, const kf_work &work)
{
    if (wanted(in, "isosurface"))
        bench_isosurface(in, work);
    if (wanted(in, "labels8"))
        bench_labels(in, work);
    if (!wanted(in, "smooth") && !wanted(in, "decimate"))
        return;
    kf_mesh mesh = isosurface(work, in, 1);
    must(kf_mesh_drop_small(&work, &mesh, 1000, nullptr));
    bench_smooth(in, work, mesh);
    if (wanted(in, "decimate"))
        bench_decimate(in, work, mesh);
    kf_mesh_release(&work, &mesh);
}

void bench_little(const input &in, const kf_work &work)
{
    kf_mesh mesh = isosurface(work, in, 1);
    struct kf_mesh_smooth how {};
    how.passes = 10;
    how.pass_band = 0.2;
    must(kf_mesh_drop_small(&work, &mesh, 1000, nullptr));
    must(kf_mesh_smooth(&work, &mesh, &how));
    if (wanted(in, "quadric"))
        bench_quadric(in, work, mesh);
    if (wanted(in, "self"))
        bench_self(in, work, mesh);
    if (wanted(in, "small"))
        bench_small(in, work, mesh);
    kf_mesh_release(&work, &mesh);
}

} // namespace

int main(int argc, char **argv)
{
    int threads = argc > 3 ? atoi(argv[3]) : 0;
    if (threads < 1) {
        fprintf(stderr, "usage: bench_mesh HEAD256.nii HEAD512.nii THREADS [NAME,NAME…]\n"
                        "names: isosurface labels8 smooth decimate; quadric self small\n");
        return 2;
    }
    kf_work work;
    kf_work_init(&work, threads);
    vtkSMPTools::Initialize(threads);
    input little, large;
    little.only = large.only = argc > 4 ? argv[4] : "";
    if (wanted(large, "isosurface") || wanted(large, "labels8") || wanted(large, "smooth") ||
        wanted(large, "decimate")) {
        load(argv[2], large);
        bench_large(large, work);
    }
    if (wanted(little, "quadric") || wanted(little, "self") || wanted(little, "small")) {
        load(argv[1], little);
        bench_little(little, work);
    }
    return 0;
}
