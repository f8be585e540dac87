// The max-flow library of Boykov and Kolmogorov: peer of bench_regions. Building the graph counts, as it does for ours.
#include "tests/bench/kernels/regions_input.h"

#include <maxflow/graph.h>

int main(int argc, char **argv)
{
    int threads, repeats; // one of each: the library has no threads, and the graph is built anew by every run
    bench_input cube = bench_arguments(argc, argv, &threads, &repeats);
    int32_t *terminal = bench_terminals(&cube);
    const int64_t step[3] = {1, cube.dim[0], cube.dim[0] * cube.dim[1]};
    double start = bench_ms();
    static int link[65536];
    for (int d = 0; d < 65536; d++)
        link[d] = bench_link(d < 4096 ? d : 4095);
    typedef maxflow::Graph<int, int, int> graph;
    graph g((int)cube.voxels, (int)(3 * cube.voxels));
    g.add_node((int)cube.voxels);
    for (int64_t v = 0; v < cube.voxels; v++) {
        const int64_t at[3] = {v % cube.dim[0], v / cube.dim[0] % cube.dim[1], v / cube.dim[0] / cube.dim[1]};
        g.add_tweights((int)v, terminal[v] > 0 ? terminal[v] : 0, terminal[v] < 0 ? -terminal[v] : 0);
        for (int a = 0; a < 3; a++)
            if (at[a] + 1 < cube.dim[a]) {
                int w = link[abs(cube.value[v] - cube.value[v + step[a]])];
                g.add_edge((int)v, (int)(v + step[a]), w, w);
            }
    }
    double built = bench_ms();
    int flow = g.maxflow();
    double done = bench_ms();
    printf("%f %.9g\n", done - start, (double)flow);
    fprintf(stderr, "# maxflow: built in %.1f ms, solved in %.1f ms\n", built - start, done - built);
    return 0;
}
