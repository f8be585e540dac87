// libFuzzer: any bytes as a GLB, PLY or STL file; what is accepted must be a mesh whose indices hold.
#include "workers/io/glb.h"
#include "workers/io/memory.h"
#include "workers/io/meshfile.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct kf_work *work, struct kf_mesh *mesh)
{
    for (int64_t i = 0; i < 3 * mesh->triangles; i++)
        if (mesh->index[i] >= (uint64_t)mesh->vertices)
            abort();
    kf_mesh_release(work, mesh);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kf_work work;
    struct kf_error err;
    struct kf_mesh mesh;
    struct kf_glb_summary summary;
    kf_work_init(&work, 1);
    if (!kf_glb_parse(&work, data, (int64_t)size, &summary, &mesh, &err))
        check(&work, &mesh);
    if (!kf_ply_parse(&work, data, (int64_t)size, &mesh, &err))
        check(&work, &mesh);
    if (!kf_stl_parse(&work, data, (int64_t)size, &mesh, &err))
        check(&work, &mesh);
    return 0;
}
