#include "server/base/config.h"
#include "server/main/kerf.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int kf_command_settings(int argc, char **argv)
{
    const char *data = getenv("KERF_DATA");
    int markdown = 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--markdown") == 0) {
            markdown = 1;
        } else if (strcmp(argv[i], "--data") == 0) {
            if (!(data = kf_command_value(argc, argv, &i)))
                return KF_EXIT_USAGE;
        } else {
            int help = strcmp(argv[i], "--help") == 0;
            fputs("kerf settings [--data DIR] [--markdown]\n\nShows every setting. A value comes from the environment, "
                  "else from DIR/kerf.conf, else it is the default.\n--markdown: the table of the README.\n",
                  help ? stdout : stderr);
            return help ? KF_EXIT_OK : KF_EXIT_USAGE;
        }
    }
    struct kf_error err;
    if (kf_config_load(data, &err))
        return kf_command_failed("settings", &err);
    kf_config_print(stdout, markdown);
    return KF_EXIT_OK;
}
