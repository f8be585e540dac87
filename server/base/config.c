#include "server/base/config.h"

#include "server/base/config_table.h"
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum kind { TEXT, SECRET, INTEGER, NUMBER, FLAG };
enum origin { DEFAULT, FROM_FILE, ENVIRONMENT, COMMAND_LINE };

struct setting {
    const char *name;
    enum kind kind;
    const char *otherwise;
    double least, most; // most 0: no upper bound
    const char *help;
    char *value; // NULL: the default
    enum origin origin;
};

static struct setting settings[] = {
#define X(name, kind, otherwise, least, most, help) {name, kind, otherwise, least, most, help, NULL, DEFAULT},
    KF_SETTINGS(X)
#undef X
};
#define COUNT (sizeof settings / sizeof *settings)

static struct setting *find(const char *name)
{
    for (size_t i = 0; i < COUNT; i++)
        if (strcmp(settings[i].name, name) == 0)
            return &settings[i];
    return NULL;
}

static struct setting *must_find(const char *name, int kind, int other)
{
    struct setting *setting = find(name);
    if (!setting || ((int)setting->kind != kind && (int)setting->kind != other)) {
        fprintf(stderr, "bug: there is no setting %s of this kind\n", name);
        abort();
    }
    return setting;
}

static const char *value_of(const struct setting *setting)
{
    return setting->value ? setting->value : setting->otherwise;
}

static enum kf_status refuse(const struct setting *setting, const char *why, struct kf_error *err)
{
    return kf_error_set(err, KF_INVALID, "setting", "%s %s.", setting->name, why);
}

static int flag_of(const char *text)
{
    static const char *const yes[] = {"1", "true", "yes", "on"}, *const no[] = {"0", "false", "no", "off", ""};
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++)
        if (strcasecmp(text, yes[i]) == 0)
            return 1;
    for (size_t i = 0; i < sizeof no / sizeof *no; i++)
        if (strcasecmp(text, no[i]) == 0)
            return 0;
    return -1;
}

static enum kf_status check_number(const struct setting *setting, const char *text, struct kf_error *err)
{
    char *end, why[120];
    errno = 0;
    double value = setting->kind == INTEGER ? (double)strtoll(text, &end, 10) : strtod(text, &end);
    if (end == text || *end || errno || !isfinite(value))
        return refuse(setting, setting->kind == INTEGER ? "must be a whole number" : "must be a number", err);
    if (value < setting->least) {
        snprintf(why, sizeof why, "must be at least %.15g", setting->least);
        return refuse(setting, why, err);
    }
    if (setting->most > 0 && value > setting->most) {
        snprintf(why, sizeof why, "must be at most %.15g", setting->most);
        return refuse(setting, why, err);
    }
    return KF_OK;
}

static enum kf_status check(const struct setting *setting, const char *text, struct kf_error *err)
{
    for (const char *at = text; *at; at++)
        if (iscntrl((unsigned char)*at))
            return refuse(setting, "must not hold control characters", err);
    if (setting->kind == INTEGER || setting->kind == NUMBER)
        return check_number(setting, text, err);
    if (setting->kind == FLAG && flag_of(text) < 0)
        return refuse(setting, "must be 1 or 0", err);
    return KF_OK;
}

static enum kf_status assign(struct setting *setting, const char *text, enum origin origin, struct kf_error *err)
{
    enum kf_status status = check(setting, text, err);
    if (status || (setting->origin == COMMAND_LINE && origin != COMMAND_LINE))
        return status;
    char *copy = strdup(text);
    if (!copy)
        return kf_error_set(err, KF_NOMEM, NULL, "Not enough memory for the settings.");
    free(setting->value);
    setting->value = copy;
    setting->origin = origin;
    return KF_OK;
}

static char *trim(char *text)
{
    while (isspace((unsigned char)*text))
        text++;
    char *end = text + strlen(text);
    while (end > text && isspace((unsigned char)end[-1]))
        *--end = 0;
    return text;
}

static enum kf_status read_line(char *line, int number, struct kf_error *err)
{
    char *text = trim(line);
    if (!*text || *text == '#')
        return KF_OK;
    char *equals = strchr(text, '=');
    if (!equals)
        return kf_error_set(err, KF_INVALID, "setting", "kerf.conf line %d is not NAME = value.", number);
    *equals = 0;
    char *name = trim(text);
    struct setting *setting = find(name);
    if (!setting)
        return kf_error_set(err, KF_INVALID, "setting", "kerf.conf line %d: there is no setting %.60s.", number, name);
    return assign(setting, trim(equals + 1), FROM_FILE, err);
}

static enum kf_status roots_alone(const struct stat *st, const char *path, struct kf_error *err)
{
    unsigned writers = (st->st_mode & S_IWOTH) | (st->st_gid ? st->st_mode & S_IWGRP : 0);
    if (st->st_uid != 0 || writers)
        return kf_error_set(err, KF_CONFLICT, "setting",
                            "%.200s is not root's alone, and whoever can change it would decide what root does: "
                            "make it root's, writable by nobody else, or do not start as root.",
                            path);
    return KF_OK;
}

// Settings name programs that we start. So root takes none from a file that somebody else could have written, nor from
// a folder in which somebody else could have put a link: /proc shows anybody's words as files of root's.
static enum kf_status trust_file(FILE *file, const char *folder, const char *path, struct kf_error *err)
{
    struct stat st;
    if (geteuid() != 0)
        return KF_OK;
    if (fstat(fileno(file), &st))
        return kf_error_errno(err, errno, path);
    enum kf_status status = roots_alone(&st, path, err);
    if (!status && stat(folder, &st))
        status = kf_error_errno(err, errno, folder);
    return status ? status : roots_alone(&st, folder, err);
}

static enum kf_status read_file(const char *folder, struct kf_error *err)
{
    char path[4096];
    if (snprintf(path, sizeof path, "%s/kerf.conf", folder) >= (int)sizeof path)
        return kf_error_set(err, KF_INVALID, "setting", "KERF_DATA is too long.");
    FILE *file = fopen(path, "re");
    if (!file)
        return errno == ENOENT || errno == ENOTDIR ? KF_OK : kf_error_errno(err, errno, path);
    char *line = NULL;
    size_t room = 0;
    enum kf_status status = trust_file(file, folder, path, err);
    for (int number = 1; !status && getline(&line, &room, file) >= 0; number++)
        status = read_line(line, number, err);
    free(line);
    fclose(file);
    return status;
}

static void forget(void)
{
    for (size_t i = 0; i < COUNT; i++) {
        if (settings[i].origin == COMMAND_LINE)
            continue; // the caller has set it for this very process
        free(settings[i].value);
        settings[i].value = NULL;
        settings[i].origin = DEFAULT;
    }
}

enum kf_status kf_config_load(const char *data_dir, struct kf_error *err)
{
    forget();
    if (!data_dir)
        data_dir = getenv("KERF_DATA");
    enum kf_status status = KF_OK;
    if (data_dir && *data_dir) {
        status = read_file(data_dir, err);
        if (!status)
            status = assign(find("KERF_DATA"), data_dir, ENVIRONMENT, err);
    }
    for (size_t i = 0; !status && i < COUNT; i++) {
        const char *text = getenv(settings[i].name);
        if (text && strcmp(settings[i].name, "KERF_DATA") != 0)
            status = assign(&settings[i], text, ENVIRONMENT, err);
    }
    return status;
}

enum kf_status kf_config_set(const char *name, const char *value, struct kf_error *err)
{
    struct setting *setting = find(name);
    if (!setting)
        return kf_error_set(err, KF_INVALID, "setting", "There is no setting %.60s.", name);
    return assign(setting, value, COMMAND_LINE, err);
}

const char *kf_config_text(const char *name)
{
    return value_of(must_find(name, TEXT, SECRET));
}

int64_t kf_config_integer(const char *name)
{
    return strtoll(value_of(must_find(name, INTEGER, INTEGER)), NULL, 10);
}

double kf_config_number(const char *name)
{
    return strtod(value_of(must_find(name, NUMBER, INTEGER)), NULL);
}

int kf_config_flag(const char *name)
{
    return flag_of(value_of(must_find(name, FLAG, FLAG))) == 1;
}

void kf_config_print(FILE *to, int markdown)
{
    static const char *const origins[] = {"default", "kerf.conf", "environment", "command line"};
    if (markdown)
        fprintf(to, "| setting | default | meaning |\n|---|---|---|\n");
    for (size_t i = 0; i < COUNT; i++) {
        const struct setting *s = &settings[i];
        if (markdown) {
            fprintf(to, "| `%s` | %s%s%s | %s |\n", s->name, *s->otherwise ? "`" : "", s->otherwise,
                    *s->otherwise ? "`" : "", s->help);
            continue;
        }
        const char *shown = s->kind == SECRET && *value_of(s) ? "(set)" : value_of(s);
        fprintf(to, "%s=%s\n    %s [%s]\n", s->name, shown, s->help, origins[s->origin]);
    }
}

enum kf_status kf_config_folder(const char *name, const char *below, char *to, size_t size, struct kf_error *err)
{
    const char *named = kf_config_text(name), *data = kf_config_text("KERF_DATA");
    if (!*named && !*data)
        return kf_error_set(err, KF_INVALID, "setting", "Set KERF_DATA or %s.", name);
    int n = *named ? snprintf(to, size, "%s", named) : snprintf(to, size, "%s/%s", data, below);
    return n < 0 || (size_t)n >= size ? kf_error_set(err, KF_INVALID, "setting", "%s is too long.", name) : KF_OK;
}
