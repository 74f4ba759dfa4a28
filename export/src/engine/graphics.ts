/** Which graphics processors there are, found out before anything is fetched for one. */

import { CellnetError } from "../errors";

/** Processors that are programs: forty times slower than WebAssembly. */
const SOFTWARE = /swiftshader|llvmpipe|softpipe|lavapipe|software|basic render/i;

/** Which graphics processor there is for WebGPU; a program that stands in for one counts if forced. */
export async function findWebGpu(forced: boolean): Promise<string> {
  if (!navigator.gpu) throw new CellnetError("the browser has no WebGPU");
  const adapter = await navigator.gpu.requestAdapter({ powerPreference: "high-performance" });
  if (!adapter) throw new CellnetError("there is no graphics processor for WebGPU");
  const { vendor, architecture, description } = adapter.info;
  const name = description || `${vendor} ${architecture}`.trim();
  return forced ? name : hardware(`${name} ${vendor} ${architecture}`, name);
}

/** Which graphics processor there is for WebGL; a program that stands in for one counts if forced. */
export async function findWebGl(forced: boolean): Promise<string> {
  const context = new OffscreenCanvas(1, 1).getContext("webgl2");
  if (!context) throw new CellnetError("the browser has no WebGL 2");
  const details = context.getExtension("WEBGL_debug_renderer_info");
  const name = details ? details.UNMASKED_RENDERER_WEBGL : context.RENDERER;
  const renderer = String(context.getParameter(name));
  context.getExtension("WEBGL_lose_context")?.loseContext();
  return forced ? renderer : hardware(renderer, renderer);
}

function hardware(told: string, name: string): string {
  if (SOFTWARE.test(told)) {
    throw new CellnetError(`it is a program that stands in for a graphics processor (${name})`);
  }
  return name;
}
