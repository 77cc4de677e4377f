import { testIndices } from "../indices_suite.ts";
import { toolkit } from "../toolkit.ts";
import { emulated, openEmulated } from "./emulated.ts";

testIndices(`cuda, ${emulated}`, async () => (await openEmulated(80)).backend, { ignore: !toolkit });
