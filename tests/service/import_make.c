// import_make KIND DIR: writes a small series with P's writer for the import tests. KIND is a transfer syntax name, or
// oblique, reversed, sagittal, enhanced, mr, enhanced-mr. "bench" writes 512 slices of 512 × 512, and bench-SYNTAX the
// same in another transfer syntax.
#include "workers/dicom/write_series.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COLUMNS 40
#define ROWS    32
#define SLICES  12

static void fill(int16_t *values, int ct)
{
    unsigned r = 1;
    for (int k = 0; k < SLICES; k++)
        for (int j = 0; j < ROWS; j++)
            for (int i = 0; i < COLUMNS; i++) {
                r = r * 1664525u + 1013904223u;
                int inside = (i - 20) * (i - 20) + (j - 14) * (j - 14) < 100;
                int v = (inside ? 700 : ct ? -990 : 20) + 3 * i + 5 * j + 11 * k + (int)(r >> 28);
                values[(k * ROWS + j) * COLUMNS + i] = (int16_t)v;
            }
}

// A noisy cylinder of water, 512³.
static int16_t *fill_large(void)
{
    int64_t n = 512;
    int16_t *values = malloc((size_t)(n * n * n) * sizeof *values);
    unsigned r = 1;
    for (int64_t i = 0; values && i < n * n * n; i++) {
        int64_t x = i % n - 256, y = i / n % n - 256;
        r = r * 1664525u + 1013904223u;
        values[i] = (int16_t)((x * x + y * y < 200 * 200 ? 40 : -1000) + (int)(r >> 27));
    }
    return values;
}

int main(int argc, char **argv)
{
    static int16_t values[COLUMNS * ROWS * SLICES];
    if (argc != 3)
        return 2;
    const char *kind = argv[1];
    int mr = strcmp(kind, "mr") == 0 || strcmp(kind, "enhanced-mr") == 0;
    struct kf_dicom_write_series s = {.modality = mr ? "MR" : "CT",
                                      .uid_seed = kind,
                                      .patient_name = "Test^Import",
                                      .patient_id = "T1",
                                      .birth_date = "19700101",
                                      .sex = "O",
                                      .date = "20260101",
                                      .time = "120000",
                                      .study_id = "1",
                                      .study_description = "import",
                                      .series_description = kind,
                                      .body_part = "HEAD",
                                      .protocol = "test",
                                      .series_number = 3,
                                      .window_centre = 40,
                                      .window_width = 400,
                                      .values = values,
                                      .enhanced = strncmp(kind, "enhanced", 8) == 0,
                                      .reversed = strcmp(kind, "reversed") == 0,
                                      .geometry = {.dim = {COLUMNS, ROWS, SLICES},
                                                   .origin_lps = {-17.5, 21.25, 4.75},
                                                   .step = {{0.8, 0, 0}, {0, 0.6, 0}, {0, 0, 1.5}}}};
    enum kf_dicom_write_syntax syntax = kf_dicom_write_syntax_find(kind);
    s.syntax = syntax == KF_WRITE_SYNTAX_COUNT ? KF_WRITE_EXPLICIT_LE : syntax;
    if (strcmp(kind, "oblique") == 0 || mr) {
        double a = 0.3, b = 0.2;
        double x[3] = {cos(a) * cos(b), sin(a) * cos(b), -sin(b)}, y[3] = {-sin(a), cos(a), 0};
        double z[3] = {x[1] * y[2] - x[2] * y[1], x[2] * y[0] - x[0] * y[2], x[0] * y[1] - x[1] * y[0]};
        for (int r = 0; r < 3; r++) {
            s.geometry.step[0][r] = 0.8 * x[r];
            s.geometry.step[1][r] = 0.6 * y[r];
            s.geometry.step[2][r] = 1.5 * z[r];
        }
    }
    if (strcmp(kind, "sagittal") == 0) {
        double step[3][3] = {{0, 0.8, 0}, {0, 0, -0.6}, {-1.5, 0, 0}};
        memcpy(s.geometry.step, step, sizeof step);
    }
    if (strncmp(kind, "bench", 5) == 0) {
        struct kf_dicom_write_geometry large = {.dim = {512, 512, 512},
                                                .origin_lps = {-120, -120, -120},
                                                .step = {{0.469, 0, 0}, {0, 0.469, 0}, {0, 0, 0.469}}};
        s.geometry = large;
        s.values = fill_large(); // until the end
        if (kind[5] == '-')
            s.syntax = kf_dicom_write_syntax_find(kind + 6);
        if (!s.values)
            return 1;
    }
    fill(values, !mr);
    int files;
    struct kf_error err = {0};
    if (kf_dicom_write(&s, argv[2], &files, &err) != KF_OK) {
        fprintf(stderr, "%s\n", err.detail);
        return 1;
    }
    return 0;
}
