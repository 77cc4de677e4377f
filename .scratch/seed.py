# the seed's sequence of operations: stable sort, padded gather, bmm, elementwise GLU, bmm, weighted scatter-add
import torch
T,H,E,K,C=262144,2880,32,4,2048
torch.manual_seed(0)
x=torch.randn(T,H,device='cuda',dtype=torch.half)*.1
gu=torch.randn(E,H,2*H,device='cuda',dtype=torch.half)*.02; dn=torch.randn(E,H,H,device='cuda',dtype=torch.half)*.02
gub=torch.zeros(E,2*H,device='cuda',dtype=torch.half); dnb=torch.zeros(E,H,device='cuda',dtype=torch.half)
p=torch.softmax(torch.randn(T,E,device='cuda'),-1); w,idx=torch.topk(p,K,dim=-1); w=w.half(); idx=idx
def seed():
    flat=idx.reshape(-1); srt,order=torch.sort(flat,stable=True)
    counts=torch.bincount(flat,minlength=E); starts=torch.cumsum(counts,0)-counts
    ar=torch.arange(C,device='cuda')
    pos=starts[:,None]+ar[None]; valid=ar[None]<counts[:,None]
    a=order[pos.clamp(max=flat.numel()-1)]; tok=a//K
    xe=x[tok]*valid[...,None]
    g=torch.bmm(xe,gu); g.add_(gub[:,None])
    gate=g[...,::2].clamp(max=7); up=g[...,1::2].clamp(-7,7)
    act=(gate*torch.sigmoid(gate*1.702))*(up+1)
    y=torch.bmm(act,dn); y.add_(dnb[:,None])
    wt=w.reshape(-1)[a]*valid
    out=torch.zeros(T,H,device='cuda',dtype=torch.half)
    out.index_add_(0,tok.reshape(-1),(y*wt[...,None]).view(-1,H))
    return out
def t(f,n=12):
    v=[]
    for i in range(n):
        a=torch.cuda.Event(enable_timing=True);b=torch.cuda.Event(enable_timing=True);a.record();o=f();b.record();b.synchronize();v.append(a.elapsed_time(b)); del o
    v=sorted(v[2:]);return v[len(v)//2]
print("seed sequence %.3f ms, peak %.0f MB"%(t(seed),torch.cuda.max_memory_allocated()/2**20))
