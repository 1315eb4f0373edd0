/** Reports outputs that are longer lists than the site expects. */

import { exportObserve, invalid, Observe, refuse } from "missiongate";

exportObserve(run);

function run(observe: Observe): void {
  observe.settings.expect(["items_max"]);
  const most = observe.settings.integer("items_max", 0, 1 << 30, -1);
  if (most < 0) invalid("items_max: missing");

  const output = observe.member("output");
  if (output.isArray() && <i64>output.length > most) {
    refuse("output.many_items", "the output has more items than the site expects");
  }
}
