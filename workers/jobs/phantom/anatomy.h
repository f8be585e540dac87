// What the anatomy builders share: tissues, truth labels, landmarks and options.
#ifndef KERF_PHANTOM_ANATOMY_H
#define KERF_PHANTOM_ANATOMY_H

#include "workers/jobs/phantom/sdf.h"

// HU of CT at 120 kV, intensities of a T2-weighted spin echo. See materials.c.
enum kf_tissue {
    KF_T_AIR,
    KF_T_BODY,
    KF_T_FAT,
    KF_T_MUSCLE,
    KF_T_SOFT,
    KF_T_MUCOSA,
    KF_T_CARTILAGE,
    KF_T_CSF,
    KF_T_BRAIN,
    KF_T_GLOBE,
    KF_T_LENS,
    KF_T_VESSEL,
    KF_T_ORGAN,
    KF_T_KIDNEY,
    KF_T_BOWEL,
    KF_T_VAULT,
    KF_T_BONE,
    KF_T_PLATE,
    KF_T_JAW,
    KF_T_LONG,
    KF_T_MARROW,
    KF_T_VERTEBRA,
    KF_T_ARCH,
    KF_T_CELLS,
    KF_T_OTIC,
    KF_T_ENAMEL,
    KF_T_DENTINE,
    KF_T_PULP,
    KF_T_LIGAMENT,
    KF_T_NERVE,
    KF_T_WALL,
    KF_T_ANNULUS,
    KF_T_NUCLEUS,
    KF_T_FLAVUM,
    KF_T_CORD,
    KF_T_ROOT,
    KF_T_SAC,
    KF_T_EPIDURAL,
    KF_T_TUMOUR,
    KF_T_METAL,
    KF_T_TABLE,
    KF_T_LUNG,
    KF_TISSUE_COUNT
};
extern const struct kf_material kf_tissues[KF_TISSUE_COUNT];

// Truth labels. Teeth have their FDI number (11 … 48).
enum kf_truth_label {
    KF_L_SKULL = 1,
    KF_L_MAXILLA = 2,
    KF_L_MANDIBLE = 3,
    KF_L_HYOID = 4,
    KF_L_BODY = 50,
    KF_L_MUSCLE = 51,
    KF_L_BRAIN = 52,
    KF_L_CSF = 53,
    KF_L_EYE = 54,
    KF_L_AIRWAY = 55,
    KF_L_SINUS = 56,
    KF_L_CANAL_LEFT = 60,
    KF_L_CANAL_RIGHT = 61,
    KF_L_TUMOUR = 62,
    KF_L_METAL = 63,
    KF_L_TABLE = 64,
    KF_L_C1 = 71,
    KF_L_C2,
    KF_L_C3,
    KF_L_C4,
    KF_L_T10 = 90,
    KF_L_T11,
    KF_L_T12,
    KF_L_L1,
    KF_L_L2,
    KF_L_L3,
    KF_L_L4,
    KF_L_L5,
    KF_L_SACRUM,
    KF_L_DISC_T10T11 = 100, // … 107 is L5–S1
    KF_L_DISC_L5S1 = 107,
    KF_L_CANAL = 110,
    KF_L_CORD,
    KF_L_CAUDA,
    KF_L_ROOTS,
    KF_L_FLAVUM,
    KF_L_RIB_T10 = 120,
    KF_L_RIB_T11,
    KF_L_RIB_T12,
    KF_L_RIB_L1,
    KF_L_ILIUM = 130,
    KF_L_TIBIA = 140,
    KF_L_FIBULA,
    KF_L_FEMUR,
    KF_L_PATELLA,
    KF_L_TALUS,
    KF_L_CALCANEUS,
    KF_L_MIDFOOT,
    KF_L_MARROW,
    KF_L_KIDNEY = 160,
    KF_L_AORTA,
    KF_L_CAVA,
};

// The coded name of a label, or NULL when the number is none.
struct kf_label_name {
    int label;
    const char *name;
    const char *snomed; // SNOMED CT concept id of the structure, or NULL where we know none for certain
    const char *meaning, *colour;
};
const struct kf_label_name *kf_label_names(int *count);

struct kf_landmark {
    char name[48];
    struct kf_v3 p; // scene mm; after kf_anatomy_place patient LPS mm
    int label;      // the structure that it lies on or in; 0: none in particular
    int ray;        // 1: the first point of `label` on the way from p to `to`; kf_truth_snap finds it
    struct kf_v3 to;
};

#define KF_LANDMARKS 512

struct kf_anatomy {
    struct kf_scene scene;
    struct kf_landmark landmarks[KF_LANDMARKS];
    int landmark_count;
    uint64_t seed;
    int metal, defect, table;
    uint32_t missing_teeth; // as in struct kf_phantom_options
    double resected_mm;
    int lumbar_rib, eleven_ribs, sacralised; // spine: ribs on L1; none on T12; L5 with wings like a sacrum's
    double scoliosis_deg; // spine: Cobb angle between T11 and L4, convex to the right when positive
    double joint_mm;      // spine: width of the joints between sacrum and ilia; 0: there are no ilia
    double side; // leg: +1 left, −1 right
};

// Adds a landmark given in the scene's current local frame.
void kf_anatomy_landmark(struct kf_anatomy *a, int label, struct kf_v3 local, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

// Adds the landmark where the way from `from` to `to` first meets the structure `label`.
void kf_anatomy_surface(struct kf_anatomy *a, int label, struct kf_v3 from, struct kf_v3 to, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

// A number in [−1, 1) of this individual: the same seed and name give the same number.
double kf_anatomy_vary(const struct kf_anatomy *a, uint64_t name);

// Each adds its parts to a->scene, in its own canonical frame (see the top of each file).
void kf_build_head(struct kf_anatomy *a);
void kf_build_head_soft(struct kf_anatomy *a);
void kf_build_skull(struct kf_anatomy *a);
void kf_build_face(struct kf_anatomy *a);
void kf_build_mandible(struct kf_anatomy *a);
void kf_build_teeth(struct kf_anatomy *a);
void kf_cut_brain_cavity(struct kf_scene *s);
void kf_root_eminences(struct kf_anatomy *a, int is_lower);
// What a jaw without any teeth has lost of its ridge, mm; 0 while it has one. Single gaps have healed over at full
// height.
double kf_ridge_lost_mm(const struct kf_anatomy *a, int is_lower);
#define KF_RESECTED_Y (-58.0) // the middle of the resected piece
void kf_build_head_air(struct kf_anatomy *a);
void kf_build_neck(struct kf_anatomy *a);
void kf_build_leg(struct kf_anatomy *a);
void kf_build_spine(struct kf_anatomy *a);

#endif
