import torch
def t(f,n=12):
    v=[]
    for i in range(n):
        a=torch.cuda.Event(enable_timing=True);b=torch.cuda.Event(enable_timing=True);a.record();f();b.record();b.synchronize();v.append(a.elapsed_time(b))
    v=sorted(v[2:]);return v[len(v)//2]
a=torch.randn(8192,8192,device='cuda',dtype=torch.half);b=torch.randn(8192,8192,device='cuda',dtype=torch.half)
m=t(lambda:a@b);print("cublas 8192 f16 %.3f ms %.1f TF"%(m,2*8192**3/m/1e9))
x=torch.randn(32,2048,2880,device='cuda',dtype=torch.half)*.1;w=torch.randn(32,2880,5760,device='cuda',dtype=torch.half)*.02
m=t(lambda:torch.bmm(x,w));print("bmm up %.3f ms %.1f TF"%(m,2*32*2048*2880*5760/m/1e9))
w2=w[:,:,:2880].contiguous();m=t(lambda:torch.bmm(x,w2));print("bmm down %.3f ms %.1f TF"%(m,2*32*2048*2880*2880/m/1e9))
print(hasattr(torch,'_grouped_mm'))
