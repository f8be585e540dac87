#include "workers/jobs/phantom/anatomy.h"
#include <stdarg.h>
#include <stdio.h>

static struct kf_landmark *new_landmark(struct kf_anatomy *a, int label, struct kf_v3 local, const char *format,
                                        va_list list)
{
    if (a->landmark_count == KF_LANDMARKS) {
        a->scene.full = 1;
        a->landmark_count--;
    }
    struct kf_landmark *mark = &a->landmarks[a->landmark_count++];
    vsnprintf(mark->name, sizeof mark->name, format, list);
    mark->p = kf_scene_point(&a->scene, local);
    mark->label = label;
    return mark;
}

void kf_anatomy_landmark(struct kf_anatomy *a, int label, struct kf_v3 local, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    new_landmark(a, label, local, format, list);
    va_end(list);
}

void kf_anatomy_surface(struct kf_anatomy *a, int label, struct kf_v3 from, struct kf_v3 to, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    struct kf_landmark *mark = new_landmark(a, label, from, format, list);
    va_end(list);
    mark->ray = 1;
    mark->to = kf_scene_point(&a->scene, to);
}

double kf_anatomy_vary(const struct kf_anatomy *a, uint64_t name)
{
    return kf_ph_uniform(a->seed * 1000003 + 17, name);
}

#define TOOTH(n, place)                                                                                                \
    {                                                                                                                  \
        n, "Tooth " #n, NULL, place, "#f4f1de"                                                                         \
    }

static const struct kf_label_name names[] = {
    {KF_L_SKULL, "Skull", "89546000", "Bone structure of cranium", "#e3d6b8"},
    {KF_L_MAXILLA, "Maxilla", "70925003", "Maxilla structure", "#e8c39e"},
    {KF_L_MANDIBLE, "Mandible", "91609006", "Bone structure of mandible", "#d9b382"},
    {KF_L_HYOID, "Hyoid", "21387005", "Hyoid bone structure", "#c9b18b"},
    TOOTH(11, "upper right central incisor"),
    TOOTH(12, "upper right lateral incisor"),
    TOOTH(13, "upper right canine"),
    TOOTH(14, "upper right first premolar"),
    TOOTH(15, "upper right second premolar"),
    TOOTH(16, "upper right first molar"),
    TOOTH(17, "upper right second molar"),
    TOOTH(18, "upper right third molar"),
    TOOTH(21, "upper left central incisor"),
    TOOTH(22, "upper left lateral incisor"),
    TOOTH(23, "upper left canine"),
    TOOTH(24, "upper left first premolar"),
    TOOTH(25, "upper left second premolar"),
    TOOTH(26, "upper left first molar"),
    TOOTH(27, "upper left second molar"),
    TOOTH(28, "upper left third molar"),
    TOOTH(31, "lower left central incisor"),
    TOOTH(32, "lower left lateral incisor"),
    TOOTH(33, "lower left canine"),
    TOOTH(34, "lower left first premolar"),
    TOOTH(35, "lower left second premolar"),
    TOOTH(36, "lower left first molar"),
    TOOTH(37, "lower left second molar"),
    TOOTH(38, "lower left third molar"),
    TOOTH(41, "lower right central incisor"),
    TOOTH(42, "lower right lateral incisor"),
    TOOTH(43, "lower right canine"),
    TOOTH(44, "lower right first premolar"),
    TOOTH(45, "lower right second premolar"),
    TOOTH(46, "lower right first molar"),
    TOOTH(47, "lower right second molar"),
    TOOTH(48, "lower right third molar"),
    {KF_L_BODY, "Body", "39937001", "Skin and soft tissue", "#d8a48f"},
    {KF_L_MUSCLE, "Muscle", "127954009", "Skeletal muscle structure", "#a4443c"},
    {KF_L_BRAIN, "Brain", "12738006", "Brain structure", "#cfa5a5"},
    {KF_L_CSF, "Cerebrospinal fluid", NULL, "Cerebrospinal fluid", "#7fb3d5"},
    {KF_L_EYE, "Eyeball", "81745001", "Eye structure", "#aed6f1"},
    {KF_L_AIRWAY, "Airway", "89187006", "Airway structure", "#85c1e9"},
    {KF_L_SINUS, "Paranasal sinuses and middle ear", "2095001", "Nasal sinus structure", "#5dade2"},
    {KF_L_CANAL_LEFT, "Inferior alveolar canal left", NULL, "Left mandibular canal", "#f1c40f"},
    {KF_L_CANAL_RIGHT, "Inferior alveolar canal right", NULL, "Right mandibular canal", "#f39c12"},
    {KF_L_TUMOUR, "Tumour", NULL, "Neoplasm of mandible", "#8e44ad"},
    {KF_L_METAL, "Metal", NULL, "Metal", "#7f8c8d"},
    {KF_L_TABLE, "Table", NULL, "Patient support", "#34495e"},
    {KF_L_C1, "C1", "14806007", "Atlas", "#c0a16b"},
    {KF_L_C2, "C2", "39976000", "Axis", "#b99b63"},
    {KF_L_C3, "C3", "113205007", "Third cervical vertebra", "#b1935a"},
    {KF_L_C4, "C4", "5329002", "Fourth cervical vertebra", "#a98b52"},
    {KF_L_T10, "T10", "7610001", "Tenth thoracic vertebra", "#7fb77e"},
    {KF_L_T11, "T11", "12989004", "Eleventh thoracic vertebra", "#6aa84f"},
    {KF_L_T12, "T12", "23215003", "Twelfth thoracic vertebra", "#4f9d69"},
    {KF_L_L1, "L1", "66794005", "First lumbar vertebra", "#e69138"},
    {KF_L_L2, "L2", "14293000", "Second lumbar vertebra", "#f1c232"},
    {KF_L_L3, "L3", "36470004", "Third lumbar vertebra", "#e06666"},
    {KF_L_L4, "L4", "11994002", "Fourth lumbar vertebra", "#8e7cc3"},
    {KF_L_L5, "L5", "49668003", "Fifth lumbar vertebra", "#6fa8dc"},
    {KF_L_SACRUM, "Sacrum", "54735007", "Sacrum", "#b45f06"},
    {100, "Disc T10-T11", "360499006", "Intervertebral disc T10-T11", "#9fc5e8"},
    {101, "Disc T11-T12", "360499006", "Intervertebral disc T11-T12", "#8fb9e0"},
    {102, "Disc T12-L1", "360499006", "Intervertebral disc T12-L1", "#7faed8"},
    {103, "Disc L1-L2", "360499006", "Intervertebral disc L1-L2", "#6fa2d0"},
    {104, "Disc L2-L3", "360499006", "Intervertebral disc L2-L3", "#5f97c8"},
    {105, "Disc L3-L4", "360499006", "Intervertebral disc L3-L4", "#4f8bc0"},
    {106, "Disc L4-L5", "360499006", "Intervertebral disc L4-L5", "#3f80b8"},
    {107, "Disc L5-S1", "360499006", "Intervertebral disc L5-S1", "#2f74b0"},
    {KF_L_CANAL, "Spinal canal", "61853006", "Spinal canal structure", "#d9ead3"},
    {KF_L_CORD, "Spinal cord", "2748008", "Spinal cord structure", "#ffd966"},
    {KF_L_CAUDA, "Dural sac and cauda equina", NULL, "Cauda equina in its sac", "#fff2cc"},
    {KF_L_ROOTS, "Nerve roots", NULL, "Spinal nerve roots", "#ffe599"},
    {KF_L_FLAVUM, "Ligamentum flavum", NULL, "Ligamentum flavum", "#bf9000"},
    {KF_L_RIB_T10, "Ribs 10", NULL, "Tenth ribs", "#93c47d"},
    {KF_L_RIB_T11, "Ribs 11", NULL, "Eleventh ribs", "#83b46d"},
    {KF_L_RIB_T12, "Ribs 12", NULL, "Twelfth ribs", "#73a45d"},
    {KF_L_RIB_L1, "Lumbar ribs", NULL, "Ribs on the first lumbar vertebra", "#63944d"},
    {KF_L_ILIUM, "Ilia", NULL, "Both iliac bones", "#b6a27a"},
    {KF_L_TIBIA, "Tibia", "12611008", "Bone structure of tibia", "#e3d6b8"},
    {KF_L_FIBULA, "Fibula", "87342007", "Bone structure of fibula", "#d9b382"},
    {KF_L_FEMUR, "Femur", "71341001", "Bone structure of femur", "#c9b18b"},
    {KF_L_PATELLA, "Patella", "64234005", "Patella structure", "#b99b63"},
    {KF_L_TALUS, "Talus", "67453005", "Bone structure of talus", "#c0a16b"},
    {KF_L_CALCANEUS, "Calcaneus", "80144004", "Bone structure of calcaneus", "#a98b52"},
    {KF_L_MIDFOOT, "Midfoot", NULL, "Tarsal and metatarsal bones", "#b1935a"},
    {KF_L_MARROW, "Medullary cavity", NULL, "Medullary cavity of long bone", "#f9e79f"},
    {KF_L_KIDNEY, "Kidney", "64033007", "Kidney structure", "#a93226"},
    {KF_L_AORTA, "Aorta", "15825003", "Aortic structure", "#e74c3c"},
    {KF_L_CAVA, "Inferior vena cava", "64131007", "Inferior vena cava structure", "#2e86c1"},
};

const struct kf_label_name *kf_label_names(int *count)
{
    *count = (int)(sizeof names / sizeof *names);
    return names;
}
