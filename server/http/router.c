// A tree of path segments, built once. A literal child is tried before the {parameter} child, and the walk steps back
// when the literal leads nowhere.
#include "server/http/internal.h"

#include <stdlib.h>
#include <string.h>

struct node {
    const char *literal; // borrowed from the pattern; NULL for a parameter
    size_t length;
    const char *parameter; // name, without braces
    size_t parameter_length;
    struct node *child;   // first literal child
    struct node *sibling; // next literal
    struct node *any;     // the {parameter} child
    int route[KF_METHODS];
};

struct kf_router {
    struct node root;
    const struct kf_route **routes;
    const char **names; // parameter names of all routes, KF_MAX_PARAMS each, NUL-terminated copies
    size_t count;
};

static void node_clear(struct node *node)
{
    for (int i = 0; i < KF_METHODS; i++)
        node->route[i] = -1;
}

static void node_free(struct node *node)
{
    while (node) {
        struct node *next = node->sibling;
        node_free(node->child);
        node_free(node->any);
        free(node);
        node = next;
    }
}

static struct node *node_new(void)
{
    struct node *node = calloc(1, sizeof *node);
    if (node)
        node_clear(node);
    return node;
}

// The child for one segment of a pattern, made when it is not there.
static struct node *child_for(struct node *node, const char *segment, size_t length)
{
    if (segment[0] == '{') {
        if (!node->any && (node->any = node_new())) {
            node->any->parameter = segment + 1;
            node->any->parameter_length = length - 2;
        }
        return node->any;
    }
    for (struct node *at = node->child; at; at = at->sibling)
        if (at->length == length && memcmp(at->literal, segment, length) == 0)
            return at;
    struct node *made = node_new();
    if (made) {
        made->literal = segment;
        made->length = length;
        made->sibling = node->child;
        node->child = made;
    }
    return made;
}

static enum kf_status add_names(struct kf_router *router, size_t index, struct kf_error *err)
{
    size_t n = 0;
    for (const char *at = router->routes[index]->pattern; (at = strchr(at, '{')); at++) {
        const char *close = strchr(at, '}');
        if (!close || n == KF_MAX_PARAMS)
            return kf_error_set(err, KF_INTERNAL, NULL, "Bad route pattern %s.", router->routes[index]->pattern);
        char *name = strndup(at + 1, (size_t)(close - at - 1));
        if (!name)
            return kf_error_set(err, KF_NOMEM, NULL, "Out of memory.");
        router->names[index * KF_MAX_PARAMS + n++] = name;
    }
    return KF_OK;
}

static enum kf_status add_route(struct kf_router *router, size_t index, struct kf_error *err)
{
    const struct kf_route *route = router->routes[index];
    if (route->pattern[0] != '/' || !route->handler)
        return kf_error_set(err, KF_INTERNAL, NULL, "Bad route %s.", route->pattern);
    struct node *node = &router->root;
    for (const char *at = route->pattern + 1; *at;) {
        size_t length = strcspn(at, "/");
        node = length ? child_for(node, at, length) : NULL;
        if (!node)
            return kf_error_set(err, KF_NOMEM, NULL, "Cannot add the route %s.", route->pattern);
        at += length;
        at += *at == '/';
    }
    if (node->route[route->method] >= 0)
        return kf_error_set(err, KF_INTERNAL, NULL, "Two routes for %s.", route->pattern);
    node->route[route->method] = (int)index;
    return add_names(router, index, err);
}

enum kf_status kf_router_new(const struct kf_route *const *tables, struct kf_router **out, struct kf_error *err)
{
    *out = NULL;
    size_t count = 0;
    for (const struct kf_route *const *table = tables; table && *table; table++)
        for (const struct kf_route *route = *table; route->pattern; route++)
            count++;
    struct kf_router *router = calloc(1, sizeof *router);
    if (!router)
        return kf_error_set(err, KF_NOMEM, NULL, "Out of memory.");
    node_clear(&router->root);
    router->routes = calloc(count + 1, sizeof *router->routes);
    router->names = calloc((count + 1) * KF_MAX_PARAMS, sizeof *router->names);
    enum kf_status status = router->routes && router->names ? KF_OK : KF_NOMEM;
    for (const struct kf_route *const *table = tables; status == KF_OK && table && *table; table++)
        for (const struct kf_route *route = *table; status == KF_OK && route->pattern; route++) {
            router->routes[router->count++] = route;
            status = add_route(router, router->count - 1, err);
        }
    if (status != KF_OK) {
        kf_router_free(router);
        return status;
    }
    *out = router;
    return KF_OK;
}

void kf_router_free(struct kf_router *router)
{
    if (!router)
        return;
    node_free(router->root.child);
    node_free(router->root.any);
    for (size_t i = 0; router->names && i < (router->count + 1) * KF_MAX_PARAMS; i++)
        free((void *)(uintptr_t)router->names[i]);
    free(router->names);
    free(router->routes);
    free(router);
}

size_t kf_router_count(const struct kf_router *router)
{
    return router->count;
}

const struct kf_route *kf_router_route(const struct kf_router *router, size_t index)
{
    return router->routes[index];
}

struct walk {
    struct kf_request *request;
    const char *segments[KF_MAX_PARAMS]; // what the parameters took, raw
    size_t lengths[KF_MAX_PARAMS];
    size_t count;
    unsigned allowed;
};

static int node_methods(const struct node *node)
{
    int allowed = 0;
    for (int i = 0; i < KF_METHODS; i++)
        if (node->route[i] >= 0)
            allowed |= 1 << i;
    return allowed;
}

// The route below node for the rest of the path; -1 when there is none. Depth is bounded by the patterns.
static int walk_from(struct walk *walk, const struct node *node, const char *at)
{
    if (!*at) {
        walk->allowed |= (unsigned)node_methods(node);
        return node->route[walk->request->method];
    }
    size_t length = strcspn(at, "/");
    const char *rest = at + length + (at[length] == '/');
    if (at[length] == '/' && !*rest)
        return -1; // a trailing slash names something else
    for (const struct node *child = node->child; child; child = child->sibling)
        if (child->length == length && memcmp(child->literal, at, length) == 0) {
            int found = walk_from(walk, child, rest);
            if (found >= 0)
                return found;
            break;
        }
    if (!node->any || walk->count == KF_MAX_PARAMS)
        return -1;
    walk->segments[walk->count] = at;
    walk->lengths[walk->count] = length;
    walk->count++;
    int found = walk_from(walk, node->any, rest);
    if (found < 0)
        walk->count--;
    return found;
}

int kf_router_find(const struct kf_router *router, struct kf_request *request, unsigned *allowed)
{
    struct walk walk = {.request = request};
    int found = walk_from(&walk, &router->root, request->path + 1);
    *allowed = walk.allowed;
    if (found < 0)
        return walk.allowed ? -2 : -1;
    for (size_t i = 0; i < walk.count; i++) {
        struct kf_field *param = &request->params[i];
        param->name = router->names[(size_t)found * KF_MAX_PARAMS + i];
        param->value = kf_http_decode(&request->arena, walk.segments[i], walk.lengths[i], 0);
        if (!param->value)
            return -1;
    }
    request->param_count = walk.count;
    return found;
}
