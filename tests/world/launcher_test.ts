import { assertEquals, assertThrows } from "@std/assert";
import { firstHost, placementFrom } from "../../src/world/launcher.ts";

function placement(variables: Record<string, string>) {
  return placementFrom((name) => variables[name]);
}

Deno.test("a process that no launcher started has no placement", () => {
  assertEquals(placement({}), undefined);
  assertEquals(placement({ RANK: "0" }), undefined);
});

Deno.test("the variables of torchrun, Open MPI, MPICH and SLURM are read", () => {
  const expected = { rank: 3, ranks: 4, localRank: 1, host: "127.0.0.1", port: 29511, secret: "" };
  assertEquals(placement({ RANK: "3", WORLD_SIZE: "4", LOCAL_RANK: "1" }), { ...expected, launcher: "torchrun" });
  assertEquals(
    placement({ OMPI_COMM_WORLD_RANK: "3", OMPI_COMM_WORLD_SIZE: "4", OMPI_COMM_WORLD_LOCAL_RANK: "1" }),
    { ...expected, launcher: "Open MPI" },
  );
  assertEquals(placement({ PMI_RANK: "3", PMI_SIZE: "4", MPI_LOCALRANKID: "1" }), { ...expected, launcher: "MPICH" });
  const slurm = {
    ...{ SLURM_PROCID: "3", SLURM_NTASKS: "4", SLURM_LOCALID: "1" },
    ...{ SLURM_STEP_NODELIST: "gpu[07-08]", SLURM_JOB_ID: "99" },
  };
  assertEquals(placement(slurm), { ...expected, launcher: "SLURM", host: "gpu07", secret: "99" });
});

Deno.test("an srun around torchrun leaves the ranks to torchrun", () => {
  const both = { SLURM_PROCID: "0", SLURM_NTASKS: "1", RANK: "1", WORLD_SIZE: "2", LOCAL_RANK: "1" };
  assertEquals(placement(both)?.launcher, "torchrun");
});

Deno.test("the port beside torchrun's own is used if its agent listens there", () => {
  const base = { RANK: "0", WORLD_SIZE: "2", MASTER_ADDR: "n1", MASTER_PORT: "29500" };
  assertEquals(placement(base)?.port, 29500);
  assertEquals(placement({ ...base, TORCHELASTIC_USE_AGENT_STORE: "True" })?.port, 29501);
});

Deno.test("a wrong value is named", () => {
  assertThrows(
    () => placement({ RANK: "2", WORLD_SIZE: "2" }),
    RangeError,
    'RANK must be an integer from 0 to 1, got "2"',
  );
  assertThrows(() => placement({ RANK: "x", WORLD_SIZE: "2" }), RangeError, "RANK must be an integer from 0 to 1");
});

Deno.test("the first host of a SLURM node list", () => {
  for (
    const [list, host] of [
      ["n[01-04,07],m3", "n01"],
      ["alone", "alone"],
      ["a,b", "a"],
      ["gpu[3]", "gpu3"],
      ["r1n[2-3]-ib", "r1n2-ib"],
    ] as const
  ) assertEquals(firstHost(list), host);
});
