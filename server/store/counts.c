#include "server/store/counts.h"

#include "server/store/row.h"

enum kf_status kf_store_counts(struct kf_store *store, struct kf_counts *out, struct kf_error *err)
{
    static const struct kf_query query = {"counts", "SELECT r_queued, r_running, r_dead, r_oldest_s, r_unimported, "
                                                    "r_instances, r_blobs, r_connections FROM kerf.counts()"};
    *out = (struct kf_counts){0};
    struct kf_args none = {0};
    struct kf_rows rows;
    enum kf_status status = kf_run(store, NULL, &query, &none, KF_RUN_READ, &rows, err);
    if (status)
        return status;
    out->jobs_queued = kf_row_integer(&rows, 0, 0);
    out->jobs_running = kf_row_integer(&rows, 0, 1);
    out->jobs_dead = kf_row_integer(&rows, 0, 2);
    out->oldest_ready_s = kf_row_number(&rows, 0, 3);
    out->series_unimported = kf_row_integer(&rows, 0, 4);
    out->instances = kf_row_integer(&rows, 0, 5);
    out->blobs = kf_row_integer(&rows, 0, 6);
    out->connections = (int)kf_row_integer(&rows, 0, 7);
    kf_rows_release(&rows);
    return KF_OK;
}
