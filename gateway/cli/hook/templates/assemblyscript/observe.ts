/** Reports outputs that are longer lists than the site expects: 1,000 items unless its settings say more. */

import { exportObserve, Observe, refuse } from "missiongate";

const ITEMS_MAX = 1000;

exportObserve(run);

function run(observe: Observe): void {
  observe.settings.expect(["items_max"]);
  const most = observe.settings.integer("items_max", 0, 1 << 30, ITEMS_MAX);

  const output = observe.member("output");
  if (output.isArray() && <i64>output.length > most) {
    refuse("output.many_items", "the output has more items than the site expects");
  }
}
