#include "workers/jobs/phantom/anatomy.h"
void kf_build_spine(struct kf_anatomy *a)
{
    kf_scene_part(&a->scene, "Body", KF_L_BODY, KF_T_BODY);
}
