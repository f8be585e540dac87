// Helper of the shell tests of kerf-intake.
//
//   intake_tool send PATH PORT            kf_send_study; prints its report; exit 0 when all was taken
//   intake_tool push DIR PORT LIST        sends the files of DIR one by one, raw; appends each UID answered with Success
//                                         to LIST at once; files whose UID is in LIST already are passed over
//   intake_tool hold PORT SECONDS         makes an association, says so on standard error, waits, says whether it is
//                                         still alive
//   intake_tool talk PORT SECONDS         the same, saying something all the while
//   intake_tool verify ROOT < rows        rows: container offset bytes blob_sha256 content_sha256 uid; checks the bytes
//                                         of each against both hashes and prints the UIDs that are right
#include "server/base/hash.h"
#include "server/base/str.h"
#include "workers/dicom/meta.h"
#include "workers/intake/send.h"
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct kf_scu_options peer_at(const char *port)
{
    const char *calling = getenv("CALLING_AE");
    return (struct kf_scu_options){.host = "127.0.0.1", .port = atoi(port),
                                   .calling_ae = calling ? calling : "TESTER", .called_ae = "KERF", .timeout_s = 60};
}

static int send_path(const char *path, const char *port)
{
    struct kf_scu_options peer = peer_at(port);
    struct kf_send_report r;
    struct kf_error err = {0};
    enum kf_status status = kf_send_study(path, &peer, NULL, NULL, &r, &err);
    printf("status=%s code=%s files=%d objects=%d sent=%d refused=%d skipped=%d refused_code=%s skipped_code=%s "
           "bytes=%lld seconds=%.3f\n",
           kf_status_wire(status), err.code, r.files, r.objects, r.sent, r.refused, r.skipped, r.refused_code,
           r.skipped_code, (long long)r.bytes, r.seconds);
    return status == KF_OK ? 0 : 1;
}

static int hold(const char *port, const char *seconds, int talk)
{
    struct kf_scu_options peer = peer_at(port);
    struct kf_scu *scu = NULL;
    struct kf_error err = {0};
    if (kf_scu_open(&peer, NULL, 0, &scu, &err) != KF_OK) {
        printf("refused %s\n", err.code);
        return 1;
    }
    fputs("open\n", stderr);
    uint16_t answer = 0xffff;
    int alive = 1, pieces = talk ? (int)(atof(seconds) * 5) : 1;
    for (int i = 0; i < pieces && alive; i++) {
        usleep((useconds_t)(atof(seconds) * 1e6 / pieces));
        alive = kf_scu_echo(scu, &answer, &err) == KF_OK && answer == 0;
    }
    puts(alive ? "alive" : "cut");
    kf_scu_close(scu);
    return 0;
}

// ---------------------------------------------------------------------------------------------- push

static int listed(const char *list, const char *uid)
{
    FILE *f = fopen(list, "r");
    char line[128];
    int found = 0;
    while (f && !found && fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = 0;
        found = strcmp(line, uid) == 0;
    }
    if (f)
        fclose(f);
    return found;
}

static int push_file(struct kf_scu *scu, const char *path, const char *list)
{
    int fd = open(path, O_RDONLY);
    struct kf_dicom *dicom = NULL;
    if (fd < 0 || kf_dicom_open(fd, 0, -1, NULL, &dicom, NULL) != KF_OK)
        return -1;
    const struct kf_dicom_identity *id = kf_dicom_identity(dicom);
    const struct kf_dicom_layout *layout = kf_dicom_layout(dicom);
    struct kf_scu_object object = {id->sop_class, id->sop_uid, id->transfer_syntax, fd, layout->dataset_offset,
                                   layout->dataset_length};
    int result = 0;
    if (!listed(list, id->sop_uid)) {
        uint16_t answer = 0xffff;
        result = kf_scu_store(scu, &object, &answer, NULL) == KF_OK ? 0 : -1;
        if (result == 0 && answer == 0) {
            int out = open(list, O_WRONLY | O_CREAT | O_APPEND, 0644);
            dprintf(out, "%s\n", id->sop_uid);
            close(out);
        } else if (result == 0) {
            printf("answer %04x\n", answer);
        }
    }
    kf_dicom_free(dicom);
    close(fd);
    return result;
}

static int visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static int push(const char *folder, const char *port, const char *list)
{
    struct kf_scu_options peer = peer_at(port);
    struct kf_scu_context context = {"1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1"};
    struct kf_scu *scu = NULL;
    struct dirent **entries;
    int count = scandir(folder, &entries, visible, alphasort);
    if (count < 0 || kf_scu_open(&peer, &context, 1, &scu, NULL) != KF_OK)
        return 1;
    int failed = 0;
    for (int i = 0; i < count && !failed; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name);
        failed = push_file(scu, path, list) != 0;
    }
    kf_scu_close(scu);
    return failed;
}

// ---------------------------------------------------------------------------------------------- verify

static int check_row(const char *root, const char *container, long long offset, long long bytes, const char *blob_hex,
                     const char *content_hex)
{
    char path[4096], hex[KF_SHA256_HEX];
    unsigned char digest[KF_SHA256_BYTES];
    snprintf(path, sizeof path, "%s/%s", root, container);
    int fd = open(path, O_RDONLY);
    if (fd < 0)
        return 0;
    int good = kf_sha256_fd(fd, offset, bytes, digest, NULL) == KF_OK;
    kf_hex_encode(hex, digest, sizeof digest);
    good = good && strcmp(hex, blob_hex) == 0;
    struct kf_dicom *dicom = NULL;
    good = good && kf_dicom_open(fd, offset, bytes, NULL, &dicom, NULL) == KF_OK &&
           kf_dicom_content_hash(dicom, digest, NULL) == KF_OK;
    kf_hex_encode(hex, digest, sizeof digest);
    good = good && strcmp(hex, content_hex) == 0;
    kf_dicom_free(dicom);
    close(fd);
    return good;
}

static int verify(const char *root)
{
    char container[256], blob_hex[80], content_hex[80], uid[80];
    long long offset, bytes;
    int bad = 0;
    while (scanf("%255s %lld %lld %79s %79s %79s", container, &offset, &bytes, blob_hex, content_hex, uid) == 6) {
        if (check_row(root, container, offset, bytes, blob_hex, content_hex))
            puts(uid);
        else
            bad++;
    }
    return bad ? 1 : 0;
}

int main(int argc, char **argv)
{
    if (kf_dicom_init(NULL) != KF_OK)
        return 1;
    const char *verb = argc > 1 ? argv[1] : "";
    if (strcmp(verb, "send") == 0 && argc == 4)
        return send_path(argv[2], argv[3]);
    if (strcmp(verb, "push") == 0 && argc == 5)
        return push(argv[2], argv[3], argv[4]);
    if ((strcmp(verb, "hold") == 0 || strcmp(verb, "talk") == 0) && argc == 4)
        return hold(argv[2], argv[3], verb[0] == 't');
    if (strcmp(verb, "verify") == 0 && argc == 3)
        return verify(argv[2]);
    fprintf(stderr, "usage: see the head of intake_tool.c\n");
    return 2;
}
