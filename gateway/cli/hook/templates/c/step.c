/* Counts the lines of a file in the mission's workspace. */
#include <missiongate.h>

/* Returns the number of lines; what follows the last end of line is one too, unless it is empty. */
static int64_t lines(mg_text text, bool skip_empty) {
    int64_t count = 0;
    for (size_t start = 0; start < text.len;) {
        size_t end = mg_find(text, start, MG_TEXT("\n"));
        if (end > start || !skip_empty) count++;
        start = end + 1;
    }
    return count;
}

/* The first round asks for the file; the second finds it in the journal. */
static const mg_value *run(const mg_step *step) {
    mg_expect(step->parameters, MG_NAMES("path", "skip_empty"));
    const mg_value *path = mg_require_string(step->parameters, "path");
    bool skip_empty = mg_boolean_member(step->parameters, "skip_empty", false);

    const mg_value *file = mg_outcome(step);
    if (!file) return mg_effect("file.read", mg_set(mg_object(), "path", path));

    const mg_value *content = mg_get(file, "content");
    /* A larger one comes as a reference, an object (abi.md). */
    if (mg_kind_of(content) != MG_STRING) mg_refuse("file.not_text", "the file is no text of at most 64 KiB");
    mg_value *output = mg_set(mg_object(), "path", path);
    mg_set(output, "lines", mg_integer(lines(mg_text_of(content), skip_empty)));
    return mg_output(output);
}

MG_STEP(run)
