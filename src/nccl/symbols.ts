// The functions of NCCL that are used, with their prototypes from nccl.h of NCCL 2.28. Handles and device pointers are u64.

export const symbols = {
  ncclGetVersion: { parameters: ["buffer"], result: "i32" }, // (int *version)
  ncclGetUniqueId: { parameters: ["buffer"], result: "i32" }, // (ncclUniqueId *uniqueId)

  // Takes a pointer to the id, which ncclCommInitRank takes by value.
  ncclCommInitRankScalable: { parameters: ["buffer", "i32", "i32", "i32", "buffer", "buffer"], result: "i32" }, // (ncclComm_t *newcomm, int nranks, int myrank, int nId, ncclUniqueId *commIds, ncclConfig_t *config)
  ncclCommDestroy: { parameters: ["u64"], result: "i32" }, // (ncclComm_t comm)
  ncclCommAbort: { parameters: ["u64"], result: "i32" }, // (ncclComm_t comm)

  ncclGroupStart: { parameters: [], result: "i32" }, // ()
  ncclGroupEnd: { parameters: [], result: "i32" }, // ()
  ncclSend: { parameters: ["u64", "usize", "i32", "i32", "u64", "u64"], result: "i32" }, // (const void *sendbuff, size_t count, ncclDataType_t datatype, int peer, ncclComm_t comm, cudaStream_t stream)
  ncclRecv: { parameters: ["u64", "usize", "i32", "i32", "u64", "u64"], result: "i32" }, // (void *recvbuff, size_t count, ncclDataType_t datatype, int peer, ncclComm_t comm, cudaStream_t stream)
  ncclAllGather: { parameters: ["u64", "u64", "usize", "i32", "u64", "u64"], result: "i32" }, // (const void *sendbuff, void *recvbuff, size_t sendcount, ncclDataType_t datatype, ncclComm_t comm, cudaStream_t stream)
  ncclReduceScatter: { parameters: ["u64", "u64", "usize", "i32", "i32", "u64", "u64"], result: "i32" }, // (const void *sendbuff, void *recvbuff, size_t recvcount, ncclDataType_t datatype, ncclRedOp_t op, ncclComm_t comm, cudaStream_t stream)

  ncclGetLastError: { parameters: ["u64"], result: "u64" }, // (ncclComm_t comm) returns const char *
  // libc's strncpy, which is found because the library depends on libc. It copies the text of an error.
  copyText: { name: "strncpy", parameters: ["buffer", "u64", "usize"], result: "u64" },
} as const satisfies Deno.ForeignLibraryInterface;
