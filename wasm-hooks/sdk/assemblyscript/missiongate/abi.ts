/** The three functions of the ABI, and what all kinds of hook share: the head of the input, the error document. */

import { Text, textAt } from "./bytes";
import { failure, Failure, malformed, refused } from "./failure";
import { DOCUMENT_DEPTH_MAX, parseAt } from "./parse";
import { member, Value } from "./value";
import { write } from "./write";

/** What answers the document of a run: the hook, and around it what its kind needs. */
export type Responder = (document: Value) => Value;

let kind: string = "";
let respond: Responder | null = null;

/** Makes `responder` answer the documents of that kind. */
export function answerWith(ofKind: string, responder: Responder): void {
  kind = ofKind;
  respond = responder;
}

/** Says which version of the ABI this is; never called. */
export function mission_abi_v1(): void {}

/** Returns the address of that many free bytes, or 0 where there are none. */
export function mission_alloc(length: usize): usize {
  // @ts-ignore: of the runtime
  return __room(length);
}

/** Takes the address and the length of the input, and returns those of the answer. */
export function mission_run(at: usize, length: usize): u64 {
  const text = answer(at, length);
  return (<u64>text.at << 32) | <u64>text.length;
}

function answer(at: usize, length: usize): Text {
  const document = read(at, length);
  const responder = respond;
  if (document !== null && !refused() && responder !== null) {
    const value = responder(document);
    const text = refused() ? textAt(0, 0) : write(value);
    if (!refused()) return text;
  }
  return write(problem(failure()));
}

/** Returns the input document, which must be one of version 1 for a hook of this kind. */
function read(at: usize, length: usize): Value | null {
  // @ts-ignore: of the runtime
  if (!__holds(at, length)) {
    malformed("the input lies outside of memory");
    return null;
  }
  const root = parseAt(at, length, DOCUMENT_DEPTH_MAX);
  if (root === null) {
    malformed("the input is not JSON");
    return null;
  }
  const version = member(root, "abi");
  if (version.rawLength != 1 || load<u8>(version.raw) != 0x31) malformed("abi: 1 is needed");
  if (!refused() && !member(root, "kind").is(kind)) malformed("kind: " + kind + " is needed");
  return root;
}

function problem(fault: Failure | null): Value {
  if (fault === null) fault = new Failure("internal", "the hook exports nothing", false);
  const error = Value.object()
    .set("code", Value.text(fault.code))
    .set("message", Value.text(fault.message))
    .set("retryable", Value.bool(fault.retryable));
  return Value.object().set("error", error);
}

/** Returns an object of the document, which must be there. */
export function object(root: Value, name: string): Value {
  const found = member(root, name);
  if (!refused() && !found.isObject()) malformed(name + ": an object is needed");
  return found;
}

/** Returns where the hook stands, which must be one of the places of its kind. */
export function place(root: Value, places: string[]): string {
  const given = member(root, "at");
  for (let i = 0; i < places.length; i++) {
    if (given.is(places[i])) return places[i];
  }
  malformed("at: no place of this kind of hook");
  return "";
}
