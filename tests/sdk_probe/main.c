/* Does what the probes of the other languages do, so that their SDKs can be compared. */
#include <missiongate.h>

static const mg_value *waited(const mg_step *step, mg_value *out, int64_t count) {
    mg_value *outcomes = mg_array();
    mg_value *effects = mg_array();
    for (int64_t i = 0; i < count; i++) {
        mg_push_effect(effects, "timer.sleep", mg_set(mg_object(), "ms", mg_integer(i)));
        const mg_value *outcome = mg_outcome_at(step, (size_t)i);
        if (outcome) mg_push(outcomes, outcome);
    }
    if (mg_count(outcomes) < (size_t)count) return mg_effects(effects);
    return mg_output(mg_set(out, "wait", outcomes));
}

static const mg_value *run(const mg_step *step) {
    const mg_value *given = step->parameters;
    mg_expect(given, MG_NAMES("value", "text", "number", "flag", "word", "list", "parse", "fail", "nest", "wait"));
    mg_value *out = mg_object();
    if (mg_get(given, "value")) mg_set(out, "value", mg_get(given, "value"));
    const mg_value *text = mg_string_member(given, "text");
    if (text) mg_set(out, "text", mg_string(mg_text_of(text)));
    if (mg_get(given, "number")) {
        mg_set(out, "number", mg_integer(mg_integer_member(given, "number", INT64_MIN, INT64_MAX, 0)));
    }
    if (mg_get(given, "flag")) mg_set(out, "flag", mg_boolean(mg_boolean_member(given, "flag", false)));
    static const char *const words[] = {"one", "two", NULL};
    const char *word = words[mg_word(given, "word", words)];
    mg_set(out, "word", mg_string((mg_text){word, 3}));
    const mg_value *list = mg_strings_member(given, "list", 1, 3);
    if (list) mg_set(out, "list", list);
    text = mg_string_member(given, "parse");
    if (text) {
        const mg_value *value = mg_parse(mg_text_of(text));
        if (!value) mg_refuse("probe.not_json", "it is not JSON");
        mg_set(out, "parse", value);
    }
    text = mg_string_member(given, "fail");
    if (text) {
        mg_buffer message = {0};
        mg_append(&message, mg_text_of(text));
        mg_append_char(&message, '\0');
        mg_refuse("probe.failed", message.bytes);
    }
    if (mg_get(given, "nest")) {
        const mg_value *value = mg_object();
        int64_t depth = mg_integer_member(given, "nest", 0, 200, 0);
        for (int64_t i = 0; i < depth; i++) value = mg_push(mg_array(), value);
        mg_set(out, "nest", value);
    }
    int64_t count = mg_integer_member(given, "wait", 1, 64, 0);
    if (count > 0) return waited(step, out, count);
    const mg_value *outcome = mg_outcome(step);
    if (outcome) mg_set(out, "outcome", outcome);
    return mg_output(out);
}

MG_STEP(run)
