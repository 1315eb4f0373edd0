/**
 * Why a run ends with an error document.
 *
 * The language has no exceptions, so a refusal is kept aside, and the run goes on: what it then returns does not count.
 * The first refusal is the one that is told.
 */

/** The refusal of this run; a run is one call, so there is one. */
export class Failure {
  constructor(
    public code: string,
    public message: string,
    public retryable: bool,
  ) {}
}

let first: Failure | null = null;

/** Returns the refusal that ends this run, or null. */
export function failure(): Failure | null {
  return first;
}

/** Whether the run is refused already, for a loop that need not go on. */
export function refused(): bool {
  return first !== null;
}

/** Ends the run with an error document: `code` is lower-case words joined by dots, `message` one sentence. */
export function refuse(code: string, message: string, retryable: bool = false): void {
  if (first === null) first = new Failure(code, message, retryable);
}

/** The parameters, or the settings, are not what the hook takes. */
export function invalid(message: string): void {
  refuse("parameters.invalid", message);
}

/** The host's input is not what the ABI says. */
export function malformed(message: string): void {
  refuse("abi.malformed_input", message);
}
