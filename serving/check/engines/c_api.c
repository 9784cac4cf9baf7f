/* Runs a SavedModel on one image by TensorFlow's C API.

   c_api SAVED_MODEL INPUT IMAGE HEIGHT WIDTH (OUTPUT FILE)...

   IMAGE holds uint8 [HEIGHT, WIDTH, 3]. INPUT and OUTPUT are tensors of the graph, OPERATION:INDEX;
   each FILE gets the numbers of its output as they lie in memory. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensorflow/c/c_api.h"

enum { MAX_OUTPUTS = 8, CHANNELS = 3 };

static void fail(const char *what, const char *why) {
  fprintf(stderr, "error: %s: %s\n", what, why);
  exit(1);
}

static void check(TF_Status *status, const char *what) {
  if (TF_GetCode(status) != TF_OK) fail(what, TF_Message(status));
}

static TF_Output tensor_of(TF_Graph *graph, const char *name) {
  char operation[1024];
  const char *colon = strrchr(name, ':');
  if (colon == NULL || (size_t)(colon - name) >= sizeof operation) fail(name, "is no OPERATION:INDEX");
  memcpy(operation, name, colon - name);
  operation[colon - name] = '\0';
  TF_Output output = {TF_GraphOperationByName(graph, operation), atoi(colon + 1)};
  if (output.oper == NULL) fail(operation, "is not in the graph");
  return output;
}

static TF_Tensor *read_image(const char *path, int64_t height, int64_t width) {
  int64_t shape[] = {1, height, width, CHANNELS};
  size_t size = (size_t)(height * width * CHANNELS);
  TF_Tensor *image = TF_AllocateTensor(TF_UINT8, shape, 4, size);
  FILE *file = fopen(path, "rb");
  if (file == NULL || fread(TF_TensorData(image), 1, size, file) != size) fail(path, "cannot be read");
  fclose(file);
  return image;
}

static void write_tensor(const char *path, const TF_Tensor *tensor) {
  size_t size = TF_TensorByteSize(tensor);
  FILE *file = fopen(path, "wb");
  if (file == NULL || fwrite(TF_TensorData(tensor), 1, size, file) != size || fclose(file) != 0)
    fail(path, "cannot be written");
}

int main(int argc, char **argv) {
  int count = (argc - 6) / 2;
  if (argc < 8 || argc % 2 != 0 || count > MAX_OUTPUTS)
    fail("usage", "c_api SAVED_MODEL INPUT IMAGE HEIGHT WIDTH (OUTPUT FILE)...");
  const char *tags[] = {"serve"};
  TF_Status *status = TF_NewStatus();
  TF_Graph *graph = TF_NewGraph();
  TF_SessionOptions *options = TF_NewSessionOptions();
  TF_Session *session =
      TF_LoadSessionFromSavedModel(options, NULL, argv[1], tags, 1, graph, NULL, status);
  check(status, argv[1]);

  TF_Output input = tensor_of(graph, argv[2]);
  TF_Tensor *image = read_image(argv[3], atoll(argv[4]), atoll(argv[5]));
  TF_Output outputs[MAX_OUTPUTS];
  TF_Tensor *values[MAX_OUTPUTS];
  for (int i = 0; i < count; i++) outputs[i] = tensor_of(graph, argv[6 + 2 * i]);
  TF_SessionRun(session, NULL, &input, &image, 1, outputs, values, count, NULL, 0, NULL, status);
  check(status, "run");

  for (int i = 0; i < count; i++) {
    write_tensor(argv[7 + 2 * i], values[i]);
    TF_DeleteTensor(values[i]);
  }
  TF_DeleteTensor(image);
  TF_CloseSession(session, status);
  TF_DeleteSession(session, status);
  check(status, "close");
  TF_DeleteSessionOptions(options);
  TF_DeleteGraph(graph);
  TF_DeleteStatus(status);
  return 0;
}
