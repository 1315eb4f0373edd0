/** What a module exports beside its hook: the second entry file of every build. */

export { mission_abi_v1, mission_alloc, mission_run } from "missiongate/abi";
