/** A step: asks for effects, and comes to an output. */

import { answerWith, object } from "./abi";
import { malformed, refuse, refused } from "./failure";
import { member, Value } from "./value";

/** What a step answers with, where it is not refused. */
export class Answer {
  private constructor(public document: Value) {}

  /** The step is done. */
  static output(value: Value): Answer {
    return new Answer(Value.object().set("output", value));
  }

  /** Asks for one effect; the manifest has to declare `op`. */
  static effect(op: string, args: Value): Answer {
    return Answer.effects([new Effect(op, args)]);
  }

  /** Asks for a batch: it is performed in order, and the step run again with the outcomes in its journal. */
  static effects(effects: Effect[]): Answer {
    const list = Value.array();
    for (let i = 0; i < effects.length; i++) {
      list.push(Value.object().set("op", Value.text(effects[i].op)).set("args", effects[i].args));
    }
    return new Answer(Value.object().set("effects", list));
  }
}

export class Effect {
  constructor(
    public op: string,
    public args: Value,
  ) {}
}

/**
 * Whether an effect that failed with that code may succeed when the step is tried again: nothing was done, and nothing
 * is in doubt; of a mission that failed, what is done is kept, and the rest is tried again.
 */
function isTransient(code: Value): bool {
  return (
    code.is("effect.connect_failed") ||
    code.is("effect.mission_failed") ||
    code.is("effect.name_not_resolved") ||
    code.is("effect.overloaded") ||
    code.is("effect.path_busy") ||
    code.is("effect.unavailable")
  );
}

/** The input of a step. */
export class Step {
  constructor(
    public parameters: Value,
    /** The outcomes of the effects so far, in order; `outcome` and `outcomeAt` read them. */
    public journal: Value,
    /** The whole document (abi.md): `step`, `now` and `seed` are in it. */
    public document: Value,
  ) {}

  /**
   * Returns what the step's one effect came to, or null where it has yet to be asked for.
   *
   * A failed effect ends the run with the effect's own code and message.
   */
  outcome(): Value | null {
    if (this.journal.length > 1) malformed("journal: one entry is expected");
    return this.outcomeAt(0);
  }

  /** Returns what the effect of that index, from 0, came to, or null where it has not been performed yet. */
  outcomeAt(index: i32): Value | null {
    if (index >= this.journal.length) return null;
    const entry = this.journal.item(index);
    const ok = entry.get("ok");
    if (ok !== null) return ok;
    const fault = entry.get("error");
    if (fault === null) {
      malformed("journal: an entry has ok or error");
      return null;
    }
    const code = textOf(fault, "code");
    const message = textOf(fault, "message");
    if (!refused()) refuse(code.asText(), message.asText(), isTransient(code));
    return null;
  }
}

function textOf(fault: Value, name: string): Value {
  const found = fault.get(name);
  if (found === null) malformed("journal: an error without " + name);
  else if (!found.isText()) malformed("journal: an error whose " + name + " is no string");
  return found === null ? Value.nothing() : found;
}

export type StepHook = (step: Step) => Answer;

let hook: StepHook | null = null;

/** Exports a step; `run` is called once per run. */
export function exportStep(run: StepHook): void {
  hook = run;
  answerWith("step", (document: Value): Value => {
    const parameters = object(document, "parameters");
    const journal = member(document, "journal");
    if (!journal.isArray()) malformed("journal: an array is needed");
    return refused() ? document : hook!(new Step(parameters, journal, document)).document;
  });
}
