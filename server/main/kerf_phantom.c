// kerf phantom: DICOM of known truth. The work and the help text are in workers/jobs/phantom.
#include "server/main/kerf.h"
#include "workers/jobs/phantom/phantom.h"

int kf_command_phantom(int argc, char **argv)
{
    return kf_phantom_main(argc, argv);
}
