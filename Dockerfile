# The command `dnas` on CPUs:
#   docker build -t dnas .
#   docker run --rm -v "$PWD":/data -w /data dnas predict CONFIG CHECKPOINT scenes/*.tif --out-dir maps
# With CUDA wheels of torch (the driver is the host's; docker run --gpus all):
#   docker build -t dnas --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130 .
FROM python:3.12-slim
ARG TORCH=torch==2.14.1
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu

# What OpenCV loads; GDAL is in a wheel.
RUN apt-get update -qq \
    && apt-get install -y -qq --no-install-recommends libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/*
RUN pip install --no-cache-dir 'numpy>=1.26' && pip install --no-cache-dir --index-url "$TORCH_INDEX" "$TORCH"
COPY . /src
RUN pip install --no-cache-dir gdal-wheel '/src[onedl,openvino,postgresql,pretrained]' && dnas env

ENTRYPOINT ["dnas"]
CMD ["--help"]
