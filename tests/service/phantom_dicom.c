// The written series as independent readers see it: dcmdump takes every file, dcm2niix gives back the same voxels in
// the same place, in every transfer syntax and as a multi-frame object; the files repeat byte for byte.
#include "server/base/test.h"
#include "workers/io/memory.h"
#include "workers/io/nifti.h"
#include "workers/jobs/phantom/phantom.h"
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char scratch[64];

static int have(const char *program)
{
    char command[128];
    snprintf(command, sizeof command, "command -v %s >/dev/null 2>&1", program);
    return system(command) == 0;
}

__attribute__((format(printf, 1, 2))) static int shell(const char *format, ...)
{
    char command[512];
    va_list list;
    va_start(list, format);
    vsnprintf(command, sizeof command, format, list);
    va_end(list);
    return system(command);
}

static void small(struct kf_phantom_options *o, const char *kind, const char *out)
{
    KF_REQUIRE(kf_phantom_defaults(kind, o, NULL) == KF_OK);
    o->dim[0] = 40, o->dim[1] = 44, o->dim[2] = 20;
    o->threads = 2;
    o->out = out;
}

// dcm2niix may turn any axis about.
static void compare(const struct kf_phantom_options *o, const char *name)
{
    char path[192], out[96];
    struct kf_volume ours, labels, theirs;
    snprintf(out, sizeof out, "%s/nii", scratch);
    mkdir(out, 0777);
    KF_REQUIRE(shell("dcm2niix -b n -z n -o %s/nii -f %s %s/%s >/dev/null 2>&1", scratch, name, scratch, name) == 0);
    snprintf(path, sizeof path, "%s/nii/%s.nii", scratch, name);
    KF_REQUIRE(kf_nifti_read(NULL, path, 0, -1, KF_NIFTI_IMAGE, &theirs, NULL) == KF_OK);
    KF_REQUIRE(kf_phantom_volumes(o, &ours, &labels, NULL) == KF_OK);
    const int64_t *d = ours.grid.dim;
    int64_t wrong = 0, i_flip = theirs.grid.direction[0] < 0, j_flip = theirs.grid.direction[4] < 0,
            k_flip = theirs.grid.direction[8] < 0;
    int mr = strcmp(o->kind, "spine-mr") == 0, low = mr ? 0 : -1024, high = mr ? 4095 : 3071;
    for (int a = 0; a < 3; a++)
        KF_REQUIRE(theirs.grid.dim[a] == d[a]);
    for (int64_t k = 0; k < d[2]; k++)
        for (int64_t j = 0; j < d[1]; j++)
            for (int64_t i = 0; i < d[0]; i++) {
                int mine = ((int16_t *)ours.data)[(k * d[1] + j) * d[0] + i];
                int64_t there = ((k_flip ? d[2] - 1 - k : k) * d[1] + (j_flip ? d[1] - 1 - j : j)) * d[0] +
                                (i_flip ? d[0] - 1 - i : i);
                mine = mine < low ? low : mine > high ? high : mine;
                wrong += mine != ((int16_t *)theirs.data)[there];
            }
    KF_CHECK_EQ(wrong, 0);
    double ijk[3] = {(double)(i_flip ? d[0] - 1 - 3 : 3), (double)(j_flip ? d[1] - 1 - 5 : 5),
                     (double)(k_flip ? d[2] - 1 - 7 : 7)},
           here[3] = {3, 5, 7}, p[3], q[3];
    kf_grid_to_lps(&theirs.grid, ijk, p);
    kf_grid_to_lps(&ours.grid, here, q);
    for (int a = 0; a < 3; a++)
        KF_CHECK_NEAR(p[a], q[a], 1e-3);
    kf_volume_release(&ours), kf_volume_release(&labels), kf_volume_release(&theirs);
}

KF_TEST(dcm2niix_reads_every_syntax_as_we_painted_it)
{
    if (!have("dcm2niix"))
        KF_SKIP("dcm2niix is not installed");
    static const char *const names[] = {"explicit", "implicit", "rle", "jpeg-lossless"}; // not JPEG-LS
    for (int s = 0; s < 4; s++) {
        char out[96];
        struct kf_phantom_options o;
        struct kf_phantom_report report;
        struct kf_error err = {0};
        snprintf(out, sizeof out, "%s/%s", scratch, names[s]);
        small(&o, "head", out);
        o.syntax = kf_dicom_write_syntax_find(names[s]);
        o.reversed = s & 1;
        KF_REQUIRE(kf_phantom_run(&o, &report, &err) == KF_OK);
        KF_CHECK_EQ(report.files, 20);
        compare(&o, names[s]);
    }
}

KF_TEST(dcm2niix_reads_mr_and_multi_frame)
{
    if (!have("dcm2niix"))
        KF_SKIP("dcm2niix is not installed");
    static const struct {
        const char *name, *kind;
        int enhanced;
    } rows[] = {{"mr", "spine-mr", 0}, {"enhanced-ct", "spine", 1}};
    for (int r = 0; r < 2; r++) {
        char out[96];
        struct kf_phantom_options o;
        struct kf_phantom_report report;
        snprintf(out, sizeof out, "%s/%s", scratch, rows[r].name);
        small(&o, rows[r].kind, out);
        o.enhanced = rows[r].enhanced;
        KF_REQUIRE(kf_phantom_run(&o, &report, NULL) == KF_OK);
        KF_CHECK_EQ(report.files, rows[r].enhanced ? 1 : 20);
        compare(&o, rows[r].name);
    }
}

KF_TEST(dcmdump_takes_every_file)
{
    if (!have("dcmdump"))
        KF_SKIP("dcmdump is not installed");
    static const char *const names[] = {"explicit", "implicit",      "big-endian", "deflated",
                                        "rle",      "jpeg-lossless", "jpeg-ls"};
    for (int s = 0; s < 7; s++) {
        char out[96];
        struct kf_phantom_options o;
        struct kf_phantom_report report;
        snprintf(out, sizeof out, "%s/dump-%s", scratch, names[s]);
        small(&o, "leg", out);
        o.syntax = kf_dicom_write_syntax_find(names[s]);
        o.tilt_deg = s == 0 ? 15 : 0;
        KF_REQUIRE(kf_phantom_run(&o, &report, NULL) == KF_OK);
        KF_CHECK(shell("for f in %s/dump-%s/*.dcm; do dcmdump -q \"$f\" >/dev/null || exit 1; done", scratch,
                       names[s]) == 0);
    }
}

KF_TEST(the_same_options_write_the_same_files)
{
    struct kf_phantom_options o;
    struct kf_phantom_report report;
    char out[2][96], truth[2][96];
    for (int n = 0; n < 2; n++) {
        snprintf(out[n], sizeof out[n], "%s/same%d", scratch, n);
        snprintf(truth[n], sizeof truth[n], "%s/truth%d", scratch, n);
        small(&o, "spine-mr", out[n]);
        o.truth = truth[n];
        o.threads = 1 + 2 * n;
        KF_REQUIRE(kf_phantom_run(&o, &report, NULL) == KF_OK);
    }
    KF_CHECK(shell("diff -r %s/same0 %s/same1 >/dev/null", scratch, scratch) == 0);
    KF_CHECK(shell("diff -r %s/truth0 %s/truth1 >/dev/null", scratch, scratch) == 0);
    KF_CHECK(shell("test -s %s/truth0/pairs.csv -a -s %s/truth0/displacement_x.nii.gz", scratch, scratch) == 0);
}

int main(void)
{
    snprintf(scratch, sizeof scratch, "/tmp/kf_phantom_XXXXXX");
    if (!mkdtemp(scratch))
        return 1;
    KF_RUN(dcm2niix_reads_every_syntax_as_we_painted_it);
    KF_RUN(dcm2niix_reads_mr_and_multi_frame);
    KF_RUN(dcmdump_takes_every_file);
    KF_RUN(the_same_options_write_the_same_files);
    if (shell("rm -rf '%s'", scratch) != 0)
        return 1;
    return kf_test_failures ? 1 : 0;
}
