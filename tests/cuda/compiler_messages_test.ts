// The build refuses kernels that ptxas has made slow: those whose products wait for each other, and those that spill.
import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { describeKernels } from "../../cuda/build.ts";
import { readCubin } from "../../cuda/cubin.ts";
import { serializedProducts } from "../../cuda/compiler_messages.ts";
import { toolkit } from "../toolkit.ts";

// As ptxas 13.0.88 wrote them.
const harmless = `\
ptxas info    : (C7517) warpgroup.wait is injected in around line 172 by compiler to allow use of registers defined by GMMA in function 'unwaited'
ptxas info    : (C7519) warpgroup.arrive is injected in around line 69 by compiler to allow use of registers in GMMA in function 'calls'
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'fine' for 'sm_90a'
ptxas info    : Function properties for fine
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 30 registers, used 0 barriers
ptxas info    : Compile time = 23.211 ms
`;

// All reasons that ptxas 13.0.88 knows.
const reasons = [
  "due to the presence of Extern calls in the function 'a'",
  "due to wgmma pipeline crossing function boundary at a function call in the function 'b'",
  "due to insufficient register resources for the wgmma pipeline in the function 'c'",
  "due to insufficient register resources for the function 'd'",
  "due to non wgmma instructions defining input registers of a wgmma between start and end of the pipeline stage in the " +
  "function 'e'",
  "due to non wgmma instructions reading accumulator registers of  a wgmma between start and end of the pipeline stage " +
  "in the function 'f'",
  "due to non wgmma instructions defining accumulator registers of a wgmma between start and end of the pipeline stage " +
  "in the function 'g'",
  "due to ill formed pipeline stage in the function 'h'",
  "due to program dependence on compiler-inserted WG.DP in divergent path in the function 'i'",
  "due to program dependence on compiler-inserted WG.AR in divergent path in the function 'j'",
];

const source = `
  __device__ __forceinline__ void multiply(float (&d)[4], unsigned long long a, unsigned long long b) {
    asm volatile("wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 {%0,%1,%2,%3}, %4, %5, 1, 1, 1, 0, 0;"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "l"(a), "l"(b));
  }
  template <bool kChanges> __device__ void product(float* out, unsigned long long a, unsigned long long b) {
    float d[4] = {out[0], out[1], out[2], out[3]};
    asm volatile("wgmma.fence.sync.aligned;");
    multiply(d, a, b);
    if (kChanges) d[1] *= 2.0f;  // before the first product is complete
    multiply(d, a, b);
    asm volatile("wgmma.commit_group.sync.aligned;");
    asm volatile("wgmma.wait_group.sync.aligned 0;");
    for (int i = 0; i < 4; i++) out[threadIdx.x + i] = d[i];
  }
  extern "C" __global__ void fine(float* out, unsigned long long a, unsigned long long b) { product<false>(out, a, b); }
  #if SLOW
  extern "C" __global__ void slow(float* out, unsigned long long a, unsigned long long b) { product<true>(out, a, b); }
  extern "C" __global__ void __launch_bounds__(1024, 2) spills(float* out) {
    float v[64];
    for (int i = 0; i < 64; i++) v[i] = out[threadIdx.x + i * 1024];
    for (int j = 0; j < 64; j++) {
      float sum = 0;
      for (int i = 0; i < 64; i++) sum += v[i] * v[(i + 7) % 64];
      out[j * 1024 + threadIdx.x] = sum;
      for (int i = 0; i < 64; i++) v[i] = v[i] * sum + v[(i + 1) % 64];
    }
  }
  #endif
`;

Deno.test("serializedProducts() lists every function whose products wait for each other, and no other message", () => {
  assertEquals(serializedProducts(""), []);
  assertEquals(serializedProducts(harmless), []);
  const start = "ptxas info    : (C7511) Potential Performance Loss: wgmma.mma_async instructions are serialized ";
  const messages = reasons.map((reason) => `${start}${reason}\n${harmless}`).join("");
  assertEquals(serializedProducts(messages), reasons);
  assertEquals(serializedProducts(messages.replaceAll("\n", "\r\n")), reasons);
});

Deno.test({
  name: "the build's checks find what the present compiler serializes and spills",
  ignore: !toolkit,
  fn: async () => {
    const folder = await Deno.makeTempDir();
    try {
      await Deno.writeTextFile(`${folder}/slow.cu`, source);
      const compile = async (slow: 0 | 1) => {
        const { success, stderr } = await new Deno.Command("nvcc", {
          args: [
            ...["-cubin", "-Xptxas", "-v", "-gencode=arch=compute_90a,code=sm_90a", "-std=c++17", `-DSLOW=${slow}`],
            ...["-o", `${folder}/cubin`, `${folder}/slow.cu`],
          ],
        }).output();
        const messages = new TextDecoder().decode(stderr);
        assertEquals(success, true, messages);
        return { messages, kernels: readCubin(await Deno.readFile(`${folder}/cubin`), 90) };
      };
      const fine = await compile(0), slow = await compile(1);
      assertEquals(serializedProducts(fine.messages), []);
      const [found, ...others] = serializedProducts(slow.messages);
      assertStringIncludes(found ?? "nothing", "'slow'");
      assertEquals(others, []);
      const refused = slow.kernels.filter(({ name }) => name === "spills");
      assertThrows(
        () => describeKernels("sm_90", refused, new Map()),
        Error,
        "Cannot ship sm_90: spills spill registers",
      );
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});
