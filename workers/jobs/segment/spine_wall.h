// The best closed surface around a point: one radius on each ray of a sphere, so that the image's evidence for a wall
// is greatest in sum and rays side by side agree. Where no wall shows, what lies around it bridges the gap.
#ifndef KERF_SEGMENT_SPINE_WALL_H
#define KERF_SEGMENT_SPINE_WALL_H

#define KF_WALL_ROWS   30 // from pole to pole, 6° apart
#define KF_WALL_TURNS  60 // rays of a row, 6° apart
#define KF_WALL_RAYS   (KF_WALL_ROWS * KF_WALL_TURNS)
#define KF_WALL_LEVELS 41 // radii on a ray: KF_WALL_LEAST … 1.4 of its usual one
#define KF_WALL_LEAST  0.6
#define KF_WALL_STEP   0.02

#define KF_WALL_WAYS 4 // to the next ray: towards either pole, and round either way

// Ray n has the polar angle (n / KF_WALL_TURNS + ½) · 6° and the azimuth (n % KF_WALL_TURNS) · 6°. 2.3 MB.
struct kf_wall {
    double usual_mm[KF_WALL_RAYS];            // radius at which a wall is expected
    float cost[KF_WALL_RAYS][KF_WALL_LEVELS]; // of a square millimetre of wall there
    int level[KF_WALL_RAYS];                  // out
    // For kf_wall_find alone: what each ray has heard from its neighbours, and what a difference of one level costs.
    float heard[KF_WALL_RAYS][KF_WALL_WAYS][KF_WALL_LEVELS], price[KF_WALL_RAYS][KF_WALL_WAYS];
};

// Sets wall->level to the surface whose cost is least: each ray's cost times its share of the sphere, and for each pair
// of neighbours `stiffness` times the square of the slope between them (of their share of the usual radius) times the
// area it stands for. Overwrites wall->cost. Source: the surface is that of Li, Wu, Chen, Sonka, "Optimal surface
// segmentation in volumetric images", PAMI 28(1), 2006, with a convex price for slopes; found by sequential
// tree-reweighted message passing (Kolmogorov, PAMI 28(10), 2006), whose bound is tight for ordered levels with convex
// prices.
void kf_wall_find(double stiffness, struct kf_wall *wall);

#endif
