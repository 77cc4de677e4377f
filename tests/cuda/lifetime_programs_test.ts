import { testLifetimes } from "../lifetime_suite.ts";
import { toolkit } from "../toolkit.ts";
import { emulated, openEmulated } from "./emulated.ts";

testLifetimes(`cuda, ${emulated}`, async () => (await openEmulated(80)).backend, { ignore: !toolkit, cases: 100 });
