// Where the facts about the families come from: the modeling code of transformers and vLLM, at fixed commits. The defaults of
// config.json's keys are in `configuration_*.py` beside it; names on disk are in transformers' `conversion_mapping.py`.

const modelingCode = (model: string, commit: string) =>
  `https://github.com/huggingface/transformers/blob/${commit}/src/transformers/models/${model}/modeling_${model}.py`;

const vllmCode = (model: string, commit: string) =>
  `https://github.com/vllm-project/vllm/blob/${commit}/vllm/model_executor/models/${model}.py`;

/** Modeling code of transformers. */
export const transformers = {
  afmoe: modelingCode("afmoe", "d4037deb6b2d71089b9cddabc2ff2e2b834d483e"),
  aria: modelingCode("aria", "5dd4a63548857797727ae73eeb6a6e886ea02a3e"),
  axk2: modelingCode("axk2", "9df3949050f57275c9727a7f6d3ae193ff07d423"),
  dbrx: modelingCode("dbrx", "7c65d177a1df42590956c680055d79abc9aa3b7f"),
  deepseek_v2: modelingCode("deepseek_v2", "03eac6f6d2af7e8562113f0b78d3d2d59a7d843d"),
  deepseek_v3: modelingCode("deepseek_v3", "f5a9ec512fa9fe69e51ea0c6388c68d50de567b3"),
  deepseek_v32: modelingCode("deepseek_v32", "b75d9478a55f347642dfa26ec5811a6a6cc01251"),
  deepseek_v4: modelingCode("deepseek_v4", "361455895daf94ca66f78cf6792b09af397b4b30"),
  dots1: modelingCode("dots1", "54d1c51d7caea79738710dede0481897ab69d4b9"),
  ernie4_5_moe: modelingCode("ernie4_5_moe", "a0699c971daff96403489086fcfd07469d20b17f"),
  ernie4_5_vl_moe: modelingCode("ernie4_5_vl_moe", "4f2fa85af5eb6cee1bc0ebaf0555c76c21f66a84"),
  exaone_moe: modelingCode("exaone_moe", "f0922eb82abbff51b86f5b2407b8e9ccbd325f23"),
  flex_olmo: modelingCode("flex_olmo", "ede92a8755e48da7ae1d1b7d976ad581aa5c8327"),
  gemma4: modelingCode("gemma4", "0246b4f3335464614ef1de66531f9131a44ec801"),
  glm4_moe: modelingCode("glm4_moe", "a0699c971daff96403489086fcfd07469d20b17f"),
  glm4_moe_lite: modelingCode("glm4_moe_lite", "1e1fe31193686d15d13411891652b05261c87770"),
  glm4v_moe: modelingCode("glm4v_moe", "e78010218c7ff0354d196d3d83b1ca46e8b7b7d1"),
  glm5_next: modelingCode("glm5_next", "1f4d57a75d2ce3fee91b50b8fbf03b14b88165cf"),
  glm_moe_dsa: modelingCode("glm_moe_dsa", "5641c8e222119b102b4c2a401aea3a751145173a"),
  gpt_oss: modelingCode("gpt_oss", "6edf5b311854175ff83c59179b3360beca1ceffc"),
  granitemoe: modelingCode("granitemoe", "c7a438e9d42b8c427670de4a674d06b7a728aa1b"),
  granitemoehybrid: modelingCode("granitemoehybrid", "1c0ff25f4cc9d0e13e0bd848a43a964a8ae1ba8e"),
  granitemoeshared: modelingCode("granitemoeshared", "de795010ac3e99db92b67a9b60b05e16d4085a3b"),
  hunyuan_v1_moe: modelingCode("hunyuan_v1_moe", "f3f034d7fae0e5afb8bb6b387cd3aefc499a6a69"),
  hy_v3: modelingCode("hy_v3", "ae117eb4b761adcd5e3463068f917add8f599047"),
  jamba: modelingCode("jamba", "97bb61d0788015770945004a7db6285db68081c0"),
  kimi_linear: modelingCode("kimi_linear", "c1a44bc9cde33bee2282b77e2b9638550a8d4c80"),
  laguna: modelingCode("laguna", "ca5ff0b0d29a3b30277e4518644df411193f9490"),
  lfm2_moe: modelingCode("lfm2_moe", "772df24b8cab3df3e23f5562184417edcdef7a0a"),
  llama4: modelingCode("llama4", "63210d0e3b74c2119b7998ff65bc6a2729283626"),
  longcat_flash: modelingCode("longcat_flash", "b1e784f69d55487cdd09d3f268e454d053061708"),
  mellum: modelingCode("mellum", "0205eec1d869591488aa74eda3f2da23610c28d9"),
  mimo_v2_flash: modelingCode("mimo_v2_flash", "91c1ec1678b69ca1c93f45ee23cd3b127a532bae"),
  minimax: modelingCode("minimax", "0e97420c9957149b80ff57632148e8ce80203b48"),
  minimax_m2: modelingCode("minimax_m2", "ea9df1d3bd9784aa7e6abd8f4be29551dd58d6d8"),
  minimax_m3_vl: modelingCode("minimax_m3_vl", "0291279d953ec372229a7729eb1d653863101fa6"),
  mistral4: modelingCode("mistral4", "d4400d5b52b719d9d3205b1205357e8cf09af829"),
  mixtral: modelingCode("mixtral", "af3efdd71ee5b568dfdb71bb41d316df830147af"),
  nemotron_h: modelingCode("nemotron_h", "897753a012bfa6dac8c0ae3281f23a2fc1e72db6"),
  nllb_moe: modelingCode("nllb_moe", "e6a20749cb0a882861b2828befc11f7498b9b51c"),
  olmoe: modelingCode("olmoe", "f321adbcdc617db59b4948f9b3b2eb679a57f2dd"),
  phimoe: modelingCode("phimoe", "c4cdd1a0d93642f0143c66609d4273efc74c22cf"),
  qwen2_moe: modelingCode("qwen2_moe", "1c351314a42ac9aef3510fc536c18130d52be2ef"),
  qwen3_5_moe: modelingCode("qwen3_5_moe", "5fd974ea3af798c79b3b70d2fd9e52fb58869894"),
  qwen3_moe: modelingCode("qwen3_moe", "16b6c53c8ec3a720bd45c1c377bf94e1d01249c5"),
  qwen3_next: modelingCode("qwen3_next", "7515843b617551b008901620ca58f1208bbc330d"),
  qwen3_omni_moe: modelingCode("qwen3_omni_moe", "ede92a8755e48da7ae1d1b7d976ad581aa5c8327"),
  qwen3_vl_moe: modelingCode("qwen3_vl_moe", "ede92a8755e48da7ae1d1b7d976ad581aa5c8327"),
  qwen4_exp: modelingCode("qwen4_exp", "381161e9b75f0a4db5ab433fc0e991161f75c4e2"),
  solar_open: modelingCode("solar_open", "f2dd04952a1fe6a272f95f4de1ed4d7393fc3d81"),
  step3p7: modelingCode("step3p7", "a7b81dfe73fd94d522c5d3734de4ba501093882b"),
  switch_transformers: modelingCode("switch_transformers", "2b24433ab77dc90a72d41a2a58ecaaa35c021037"),
  switch_transformers_experts: modelingCode("switch_transformers", "17da17846f629cce60bd7ade3307b8960a935423")
    .replace("modeling_", "modular_"),
} as const;

/** Modeling code of vLLM. */
export const vllm = {
  afmoe: vllmCode("afmoe", "ff583b3c92c19db2692a77174b104068526b6e07"),
  arctic: vllmCode("arctic", "c96c471d1b439609b5822c5becfe4c22863db545"),
  bailing_moe: vllmCode("bailing_moe", "3a04cf8f14c971435137c3ec572a7803c663673d"),
  deepseek_v2: vllmCode("deepseek_v2", "b863fe5bf4e19680572603b4e166faefc5725551"),
  grok1: vllmCode("grok1", "048a32c74781fb54225d431eca3a58a809eb265d"),
  hunyuan_v1: vllmCode("hunyuan_v1", "00f8d4456f506c4885a122c993796a6abc319af8"),
  mimo_v2_flash: vllmCode("mimo_v2_flash", "91cf2f13c21862c4d7a239c9a33b9025911e27b1"),
  step3p5: vllmCode("step3p5", "b020ee213dd4abee98f59fa921343c36af709c63"),
} as const;
