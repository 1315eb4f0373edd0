/** A screen: looks at a mission or at a step before it begins, and may deny it or give it less. */

import { answerWith, object, place } from "./abi";
import { refused } from "./failure";
import { member, Value } from "./value";

/** What a screen answers with. */
export class Verdict {
  private constructor(public document: Value) {}

  static allow(): Verdict {
    return new Verdict(Value.object().set("verdict", Value.text("allow")));
  }

  /** Says nothing, for what this screen is not about. */
  static abstain(): Verdict {
    return new Verdict(Value.object().set("verdict", Value.text("abstain")));
  }

  /** Allows, with less. */
  static narrow(limits: Narrow): Verdict {
    const verdict = Verdict.allow();
    const narrow = Value.object();
    if (limits.wallMsMax >= 0) narrow.set("wall_ms_max", Value.integer(limits.wallMsMax));
    if (limits.fuelMax >= 0) narrow.set("fuel_max", Value.integer(limits.fuelMax));
    if (limits.memoryBytesMax >= 0) narrow.set("memory_bytes_max", Value.integer(limits.memoryBytesMax));
    verdict.document.set("narrow", narrow);
    return verdict;
  }

  /** Denies, for one reason; the host puts `screen.<name of the hook>.` before the code. */
  static deny(code: string, message: string): Verdict {
    return Verdict.denyFor([new Reason(code, message)]);
  }

  /** Denies, for 1 to 16 reasons. */
  static denyFor(reasons: Reason[]): Verdict {
    const list = Value.array();
    for (let i = 0; i < reasons.length; i++) {
      const reason = reasons[i];
      list.push(Value.object().set("code", Value.text(reason.code)).set("message", Value.text(reason.message)));
    }
    return new Verdict(Value.object().set("verdict", Value.text("deny")).set("reasons", list));
  }
}

export class Reason {
  constructor(
    public code: string,
    public message: string,
  ) {}
}

/** What the run gets at most; what is negative, or more than it would get anyway, changes nothing. */
export class Narrow {
  wallMsMax: i64 = -1;
  fuelMax: i64 = -1;
  memoryBytesMax: i64 = -1;
}

/** The input of a screen. */
export class Screen {
  constructor(
    /** "mission" or "step". */
    public at: string,
    /** What the site's configuration gives this hook. */
    public settings: Value,
    /** The whole document (abi.md). */
    public document: Value,
  ) {}

  /** Returns a member of the document, which must be there. */
  member(name: string): Value {
    return member(this.document, name);
  }

  /** Returns an object of the document, which must be there. */
  object(name: string): Value {
    return object(this.document, name);
  }
}

export type ScreenHook = (screen: Screen) => Verdict;

let hook: ScreenHook | null = null;

/** Exports a screen; `run` is called once per run. */
export function exportScreen(run: ScreenHook): void {
  hook = run;
  answerWith("screen", (document: Value): Value => {
    const at = place(document, ["mission", "step"]);
    const settings = object(document, "settings");
    return refused() ? document : hook!(new Screen(at, settings, document)).document;
  });
}
