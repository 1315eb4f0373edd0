/**
 * The SDK of hooks in C: pure functions of their input, exported under version 1 of the hook ABI (abi.md).
 *
 *     #include <missiongate.h>
 *
 *     static const mg_value *run(const mg_step *step) {
 *         mg_expect(step->parameters, MG_NAMES("path"));
 *         const mg_value *path = mg_require_string(step->parameters, "path");
 *         const mg_value *read = mg_outcome(step);
 *         if (!read) return mg_effect("file.read", mg_set(mg_object(), "path", path));
 *         return mg_output(mg_member(read, "bytes"));
 *     }
 *
 *     MG_STEP(run)
 *
 * Whatever goes wrong ends the run with an error document. A refusal is kept aside and the run goes on; what it then
 * returns does not count, and the first refusal is the one that is told. Where a function was refused, or is given NULL
 * for a value, it takes or returns the value null, so that no pointer need be checked but those that say so.
 *
 * There is no library of C: this is all that a hook has, beside the compiler's own headers and built-ins. Nothing is
 * freed: a run is one call, and the host throws its memory away. JSON is read and written by the SDK in Zig.
 */
#ifndef MISSIONGATE_H
#define MISSIONGATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** One JSON value. One that was read keeps its text: a number all its digits, a string its every byte. */
typedef struct mg_value mg_value;

typedef enum {
    MG_NULL,
    MG_BOOLEAN,
    MG_NUMBER,
    MG_STRING,
    MG_ARRAY,
    MG_OBJECT,
} mg_kind;

/** Text as UTF-8, with no NUL behind it. */
typedef struct {
    const char *bytes;
    size_t len;
} mg_text;

/** The text of a string literal. */
#define MG_TEXT(literal) ((mg_text){(literal), sizeof(literal) - 1})

/* ---- Refusals ------------------------------------------------------------------------------------------------- */

/** Ends the run with an error: `code` is lower-case words joined by dots, `message` one sentence. */
void mg_refuse(const char *code, const char *message);

/** As `mg_refuse`, for a fault after which the same step may succeed later. */
void mg_refuse_for_now(const char *code, const char *message);

/** Ends the run with `parameters.invalid`: the parameters, or the settings, are not what the hook takes. */
void mg_invalid(const char *message);

/** Whether the run is refused already, for a loop that need not go on. */
bool mg_refused(void);

/* ---- Looking at values ---------------------------------------------------------------------------------------- */

mg_kind mg_kind_of(const mg_value *value);

/** Returns how many values an array has, or members an object; 0 for the others. */
size_t mg_count(const mg_value *value);

/** Returns an array's value, or that of an object's member, by its index from 0. */
const mg_value *mg_at(const mg_value *value, size_t index);

/** Returns the name of an object's member by its index from 0. */
mg_text mg_name_at(const mg_value *value, size_t index);

/** Returns the member of that name, or NULL; also where the value is no object. */
const mg_value *mg_get(const mg_value *value, const char *name);

/** Returns a string's text; empty where the value is none. One with escapes is decoded each time. */
mg_text mg_text_of(const mg_value *value);

/** Returns a number's JSON text, with every digit it came with; empty where the value is none. */
mg_text mg_number_of(const mg_value *value);

/** Whether a value is a number without a fraction, however it is written (1, 1.0, 10e-1), that fits 64 bits. */
bool mg_is_integer(const mg_value *value, int64_t *into);

/** Returns a boolean's value; false where the value is none. */
bool mg_boolean_of(const mg_value *value);

/** Whether a value is a string of that text. */
bool mg_is(const mg_value *value, const char *text);

/* ---- Members that are wanted; without them, or of another kind, the run is refused as invalid ------------------ */

/** For `mg_expect` and `mg_word`. */
#define MG_NAMES(...) ((const char *const[]){__VA_ARGS__, NULL})

/** Refuses members whose names are not listed. */
void mg_expect(const mg_value *object, const char *const *names);

const mg_value *mg_require(const mg_value *object, const char *name);
const mg_value *mg_require_string(const mg_value *object, const char *name);
const mg_value *mg_require_array(const mg_value *object, const char *name);

/** Returns a string, or NULL where it is not given. */
const mg_value *mg_string_member(const mg_value *object, const char *name);

/** Returns an array of `least` to `most` strings, or NULL where it is not given. */
const mg_value *mg_strings_member(const mg_value *object, const char *name, size_t least, size_t most);

/** Returns the index of the one of `words` that a string is; 0 where it is not given. */
size_t mg_word(const mg_value *object, const char *name, const char *const *words);

/** Returns an integer within bounds, both included; `absent` where it is not given. */
int64_t mg_integer_member(const mg_value *object, const char *name, int64_t least, int64_t most, int64_t absent);

bool mg_boolean_member(const mg_value *object, const char *name, bool absent);

/** Returns a member of an effect's outcome, or of the document, which must be there. */
const mg_value *mg_member(const mg_value *object, const char *name);

/* ---- Making values -------------------------------------------------------------------------------------------- */

const mg_value *mg_null(void);
const mg_value *mg_boolean(bool value);
const mg_value *mg_integer(int64_t value);

/** Returns a string. The bytes must be UTF-8, and must last. */
const mg_value *mg_string(mg_text text);

/** Returns an empty array, for `mg_push` to fill. */
mg_value *mg_array(void);

/** Returns an empty object, for `mg_set` to fill. */
mg_value *mg_object(void);

/** Appends to an array that was made here, and returns it. */
mg_value *mg_push(mg_value *array, const mg_value *value);

/** Appends a member, whose name must be new, to an object that was made here, and returns it. */
mg_value *mg_set(mg_value *object, const char *name, const mg_value *value);
mg_value *mg_set_text(mg_value *object, mg_text name, const mg_value *value);

/* ---- Text and memory ------------------------------------------------------------------------------------------ */

/** Returns `size` bytes with undefined content, aligned to 8. Where there are none the run ends, out of memory. */
void *mg_alloc(size_t size);

/** Text that grows. Begin with `mg_buffer out = {0};`. */
typedef struct {
    char *bytes;
    size_t len;
    size_t room;
} mg_buffer;

void mg_append(mg_buffer *buffer, mg_text text);
void mg_append_char(mg_buffer *buffer, char byte);

static inline mg_text mg_buffer_text(const mg_buffer *buffer) {
    return (mg_text){buffer->bytes, buffer->len};
}

/** Whether two texts are the same bytes. */
bool mg_same(mg_text a, mg_text b);

/** Returns where `part` begins in `text` first, at `from` or later, or `text.len` where it is not there. */
size_t mg_find(mg_text text, size_t from, mg_text part);

/** Returns the one JSON value that a text holds, or NULL where it is not strict JSON, or nested more than 64 deep. */
const mg_value *mg_parse(mg_text text);

/* ---- A step: asks for effects, and comes to an output ----------------------------------------------------------- */

typedef struct {
    const mg_value *parameters;
    const mg_value *journal;  /* `mg_outcome` and `mg_outcome_at` read it */
    const mg_value *document; /* the whole (abi.md): `step`, `now` and `seed` are in it */
} mg_step;

/**
 * Returns what the step's one effect came to, or NULL where it has yet to be asked for. A failed effect ends the run
 * with the effect's own code and message.
 */
const mg_value *mg_outcome(const mg_step *step);

/** Returns what the effect of that index, from 0, came to, or NULL where it has not been performed yet. */
const mg_value *mg_outcome_at(const mg_step *step, size_t index);

/** Answers: the step is done. */
const mg_value *mg_output(const mg_value *value);

/** Answers: this effect is wanted. The manifest has to declare `op`. */
const mg_value *mg_effect(const char *op, const mg_value *args);

/** Answers: these are wanted, an array that `mg_push_effect` filled; they are performed in order. */
const mg_value *mg_effects(const mg_value *effects);
mg_value *mg_push_effect(mg_value *effects, const char *op, const mg_value *args);

/* ---- A screen: may deny a mission or a step, or give it less ---------------------------------------------------- */

typedef struct {
    mg_text at;               /* mission or step */
    const mg_value *settings; /* what the site's configuration gives this hook */
    const mg_value *document; /* the whole (abi.md) */
} mg_screen;

const mg_value *mg_allow(void);

/** Says nothing, for what this screen is not about. */
const mg_value *mg_abstain(void);

/** Denies, for one reason; the host puts `screen.<name of the hook>.` before the code. */
const mg_value *mg_deny(const char *code, const char *message);

/** Denies, for 1 to 16 reasons: an array that `mg_push_reason` filled. */
const mg_value *mg_deny_for(const mg_value *reasons);
mg_value *mg_push_reason(mg_value *reasons, const char *code, const char *message);

/** What the run gets at most; what is 0, or more than it would get anyway, changes nothing. */
typedef struct {
    int64_t wall_ms_max;
    int64_t fuel_max;
    int64_t memory_bytes_max;
} mg_limits;

/** Allows, with less. */
const mg_value *mg_narrow(mg_limits limits);

/* ---- A rewrite: gives back parameters or an output as they are to be from then on -------------------------------- */

typedef struct {
    mg_text at;               /* parameters or output */
    const mg_value *settings; /* what the site's configuration gives this hook */
    const mg_value *step;     /* whose they are: id, name, step_type, attempt */
    const mg_value *value;    /* the parameters, an object, or the output, any value */
} mg_rewrite;

/* ---- An observer: looks, and reports by `mg_refuse` --------------------------------------------------------------- */

typedef struct {
    mg_text at;               /* mission, step or output */
    const mg_value *settings; /* what the site's configuration gives this hook */
    const mg_value *document; /* the whole (abi.md) */
} mg_observe;

/* ---- What a hook exports: one of these, once, with the name of its function -------------------------------------- */

typedef enum { MG_HOOK_STEP, MG_HOOK_SCREEN, MG_HOOK_REWRITE, MG_HOOK_OBSERVE } mg_hook_kind;

typedef struct {
    mg_hook_kind kind;
    union {
        const mg_value *(*step)(const mg_step *);
        const mg_value *(*screen)(const mg_screen *);
        const mg_value *(*rewrite)(const mg_rewrite *);
        void (*observe)(const mg_observe *);
    } run;
} mg_hook_entry;

extern const mg_hook_entry mg_hook;

/** Exports a step: `const mg_value *run(const mg_step *)`. */
#define MG_STEP(function) const mg_hook_entry mg_hook = {MG_HOOK_STEP, {.step = (function)}};

/** Exports a screen: `const mg_value *run(const mg_screen *)`. */
#define MG_SCREEN(function) const mg_hook_entry mg_hook = {MG_HOOK_SCREEN, {.screen = (function)}};

/** Exports a rewrite: `const mg_value *run(const mg_rewrite *)`; what it returns stands where `value` stood. */
#define MG_REWRITE(function) const mg_hook_entry mg_hook = {MG_HOOK_REWRITE, {.rewrite = (function)}};

/** Exports an observer: `void run(const mg_observe *)`. */
#define MG_OBSERVE(function) const mg_hook_entry mg_hook = {MG_HOOK_OBSERVE, {.observe = (function)}};

#endif
