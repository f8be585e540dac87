// The 3D scene, in patient millimetres (LPS): surfaces, the crosshair, the frames of the three slices, the orientation
// cube. Drawn only when something changed.
import * as THREE from 'three';
import { OrbitControls } from 'three/examples/jsm/controls/OrbitControls.js';
import type { GridMeta } from '../api/types';
import { centreLps, ijkToLps, onSlice, orientations, planeOf, sliceAt, type Orientation, type Vec3 } from '../slices/geometry';
import { planeColours } from '../slices/overlay';
import { OrientationCube } from './cube';
import { loadSurface } from './load';

export interface SurfaceLook {
  visible: boolean;
  opacity: number;
  colour: string;
}

interface Surface {
  group: THREE.Group;
  material: THREE.MeshStandardMaterial;
  prepass: THREE.MeshBasicMaterial;
  meshes: THREE.Mesh[];
  level: number;
  generation: number;
}

const home = new THREE.Vector3(0.45, -1, 0.28).normalize();

export class Scene3D {
  private readonly renderer: THREE.WebGLRenderer;
  private readonly scene = new THREE.Scene();
  private readonly camera = new THREE.PerspectiveCamera(28, 1, 1, 10000);
  private readonly controls: OrbitControls;
  private readonly cube = new OrientationCube();
  private readonly surfaces = new Map<string, Surface>();
  private readonly crosshair = new THREE.Group();
  private readonly frames = new Map<Orientation, THREE.LineLoop>();
  private readonly watcher: ResizeObserver;
  private grid: GridMeta | null = null;
  private frame = 0;
  private closed = false;
  private calm = matchMedia('(prefers-reduced-motion: reduce)').matches;
  private radius = 150;
  /** The user turned or moved the camera: it is not ours to place any more. */
  private handled = false;
  /** A point on a surface was clicked. */
  onPick: (lps: Vec3) => void = () => undefined;

  constructor(private readonly host: HTMLElement) {
    this.renderer = new THREE.WebGLRenderer({ antialias: true, alpha: false, powerPreference: 'high-performance' });
    this.renderer.setPixelRatio(Math.min(2, devicePixelRatio || 1));
    this.renderer.setClearColor(0x0a0d10);
    this.renderer.autoClear = false;
    host.append(this.renderer.domElement);
    this.renderer.domElement.className = 'scene-canvas';
    this.camera.up.set(0, 0, 1);
    this.controls = new OrbitControls(this.camera, this.renderer.domElement);
    this.controls.enableDamping = false;
    this.controls.zoomToCursor = true;
    this.controls.addEventListener('start', () => { this.handled = true; });
    this.controls.addEventListener('change', () => this.redraw());
    this.light();
    this.buildCrosshair();
    this.scene.add(this.crosshair);
    this.watchClicks();
    this.watchKeys();
    this.renderer.domElement.addEventListener('webglcontextrestored', () => this.redraw());
    this.watcher = new ResizeObserver(() => this.resize());
    this.watcher.observe(host);
    this.resize();
  }

  private light(): void {
    this.scene.add(new THREE.HemisphereLight(0xdfe8f2, 0x40454c, 1.1));
    const head = new THREE.DirectionalLight(0xffffff, 1.9);
    head.position.set(-0.6, 0.9, 1);
    this.camera.add(head);
    this.scene.add(this.camera);
  }

  private buildCrosshair(): void {
    const axes: [Orientation, Vec3][] = [['sagittal', [1, 0, 0]], ['coronal', [0, 1, 0]], ['axial', [0, 0, 1]]];
    for (const [orientation, direction] of axes) {
      const end = new THREE.Vector3(...direction);
      const geometry = new THREE.BufferGeometry().setFromPoints([end.clone().negate(), end]);
      const material = new THREE.LineBasicMaterial({ color: planeColours[orientation], depthTest: false, transparent: true, opacity: 0.9 });
      const line = new THREE.Line(geometry, material);
      line.renderOrder = 10;
      this.crosshair.add(line);
    }
    this.crosshair.visible = false;
  }

  /** The volume the scene stands in: where to look, how large lines are. */
  setGrid(grid: GridMeta): void {
    const first = this.grid === null;
    this.grid = grid;
    const centre = centreLps(grid);
    this.radius = new THREE.Vector3(...ijkToLps(grid, [0, 0, 0])).distanceTo(new THREE.Vector3(...centre));
    for (const frame of this.frames.values()) this.scene.remove(frame);
    this.frames.clear();
    for (const orientation of orientations) {
      const material = new THREE.LineBasicMaterial({ color: planeColours[orientation], transparent: true, opacity: 0.4 });
      const frame = new THREE.LineLoop(new THREE.BufferGeometry(), material);
      this.frames.set(orientation, frame);
      this.scene.add(frame);
    }
    if (first) this.lookFrom(home, false);
    this.redraw();
  }

  /** Moves the crosshair and the slice frames. */
  setCursor(lps: Vec3, shown: boolean): void {
    this.crosshair.visible = shown;
    this.crosshair.position.set(...lps);
    this.crosshair.scale.setScalar(this.radius * 0.16);
    for (const [orientation, frame] of this.frames) {
      frame.visible = shown;
      if (this.grid) frame.geometry.setFromPoints(this.outline(this.grid, orientation, lps));
    }
    this.redraw();
  }

  private outline(grid: GridMeta, orientation: Orientation, lps: Vec3): THREE.Vector3[] {
    const plane = planeOf(grid, orientation);
    const [u, v] = [0, 1, 2].filter((axis) => axis !== plane.axis);
    const index = sliceAt(grid, plane, lps);
    const corners: [number, number][] = [[0, 0], [1, 0], [1, 1], [0, 1]];
    return corners.map(([a, b]) => {
      const ijk: Vec3 = [0, 0, 0];
      ijk[u] = a * (grid.dim[u] - 1);
      ijk[v] = b * (grid.dim[v] - 1);
      return new THREE.Vector3(...onSlice(grid, plane, ijkToLps(grid, ijk), index));
    });
  }

  /** Loads a structure's surfaces one after the other, coarsest first; each replaces the one before. */
  async showSurface(key: string, urls: readonly string[], look: SurfaceLook): Promise<void> {
    const known = this.surfaces.get(key);
    if (known) this.dropMeshes(known);
    const surface = known ?? this.makeSurface(key);
    const generation = ++surface.generation;
    surface.level = -1;
    this.setLook(key, look);
    for (const [level, url] of urls.entries()) {
      const object = await loadSurface(url);
      if (this.closed || surface.generation !== generation) return;
      this.dropMeshes(surface);
      this.adopt(surface, object);
      surface.level = level;
      this.redraw();
    }
  }

  private makeSurface(key: string): Surface {
    const material = new THREE.MeshStandardMaterial({ roughness: 0.62, metalness: 0, side: THREE.DoubleSide });
    const prepass = new THREE.MeshBasicMaterial({ colorWrite: false, side: THREE.DoubleSide });
    const surface: Surface = { group: new THREE.Group(), material, prepass, meshes: [], level: -1, generation: 0 };
    this.surfaces.set(key, surface);
    this.scene.add(surface.group);
    return surface;
  }

  private adopt(surface: Surface, object: THREE.Object3D): void {
    // The file's root turns LPS millimetres into glTF's metres, +Y up; this turns them back.
    const back = new THREE.Matrix4().set(1000, 0, 0, 0, 0, 0, -1000, 0, 0, 1000, 0, 0, 0, 0, 0, 1);
    const root = new THREE.Group();
    root.applyMatrix4(back);
    root.add(object);
    object.traverse((node) => {
      if (!(node instanceof THREE.Mesh)) return;
      node.material = surface.material;
      node.renderOrder = 2;
      surface.meshes.push(node);
    });
    // A see-through surface shows its front only: depth first, without colour, then the colour where it is in front.
    for (const mesh of [...surface.meshes]) {
      const depth = new THREE.Mesh(mesh.geometry, surface.prepass);
      depth.renderOrder = 1;
      mesh.add(depth);
      depth.raycast = () => undefined;
    }
    surface.group.add(root);
    this.applyDepth(surface);
  }

  private applyDepth(surface: Surface): void {
    const clear = surface.material.opacity < 1;
    for (const mesh of surface.meshes) for (const child of mesh.children) child.visible = clear;
  }

  private dropMeshes(surface: Surface): void {
    for (const mesh of surface.meshes) mesh.geometry.dispose();
    surface.meshes = [];
    surface.group.clear();
  }

  setLook(key: string, look: SurfaceLook): void {
    const surface = this.surfaces.get(key);
    if (!surface) return;
    surface.group.visible = look.visible && look.opacity > 0;
    surface.material.color.set(look.colour);
    surface.material.opacity = look.opacity;
    const clear = look.opacity < 1;
    if (surface.material.transparent !== clear) {
      surface.material.transparent = clear;
      surface.material.needsUpdate = true;
    }
    this.applyDepth(surface);
    this.redraw();
  }

  /** Where a structure stands: its own millimetres (LPS) to those of the scene, rows of 4×4. */
  setPlace(key: string, place: readonly (readonly number[])[]): void {
    const group = this.surfaces.get(key)?.group;
    if (!group) return;
    const flat = place.flat() as Parameters<THREE.Matrix4['set']>;
    group.matrixAutoUpdate = false;
    group.matrix.set(...flat);
    group.matrixWorldNeedsUpdate = true;
    this.redraw();
  }

  removeSurfacesBut(keys: ReadonlySet<string>): void {
    for (const [key, surface] of this.surfaces) {
      if (keys.has(key)) continue;
      this.dropMeshes(surface);
      surface.generation++;
      this.scene.remove(surface.group);
      this.surfaces.delete(key);
    }
    this.redraw();
  }

  /** What is on the screen, for the status line and the tests: triangles by structure. */
  report(): { key: string; level: number; triangles: number; visible: boolean }[] {
    return [...this.surfaces].map(([key, surface]) => ({
      key,
      level: surface.level,
      visible: surface.group.visible,
      triangles: surface.meshes.reduce((n, mesh) => n + (mesh.geometry.index?.count ?? 0) / 3, 0),
    }));
  }

  /** Looks at the middle of everything from a direction (from the patient outward). */
  lookFrom(direction: THREE.Vector3, smooth = true): void {
    if (!this.grid) return;
    const target = new THREE.Vector3(...centreLps(this.grid));
    // Straight up or down the turntable's axis there is no up; a hair beside it there is.
    const way = direction.clone().normalize();
    if (Math.abs(way.z) > 0.999) way.set(0, -0.0015, Math.sign(way.z)).normalize();
    const place = target.clone().addScaledVector(way, this.fitDistance(this.grid, target, way));
    if (!smooth || this.calm) {
      this.place(place, target);
      return;
    }
    this.fly(place, target);
  }

  /** How far away the whole volume is in sight. Anatomy leaves its corners empty: a little nearer than that. */
  private fitDistance(grid: GridMeta, target: THREE.Vector3, way: THREE.Vector3): number {
    const right = new THREE.Vector3(0, 0, 1).cross(way).normalize();
    const up = way.clone().cross(right);
    const tangent = Math.tan(THREE.MathUtils.degToRad(this.camera.fov / 2));
    let distance = 0;
    for (let corner = 0; corner < 8; corner++) {
      const ijk = [0, 1, 2].map((axis) => ((corner >> axis) & 1) * (grid.dim[axis] - 1)) as Vec3;
      const p = new THREE.Vector3(...ijkToLps(grid, ijk)).sub(target);
      distance = Math.max(distance, Math.abs(p.dot(up)) / tangent, Math.abs(p.dot(right)) / tangent / this.camera.aspect);
    }
    return distance * 0.98;
  }

  private place(place: THREE.Vector3, target: THREE.Vector3): void {
    this.camera.position.copy(place);
    this.controls.target.copy(target);
    this.controls.update();
    this.redraw();
  }

  private fly(place: THREE.Vector3, target: THREE.Vector3): void {
    const [from, aim] = [this.camera.position.clone().sub(this.controls.target), this.controls.target.clone()];
    const to = place.clone().sub(target);
    const begin = performance.now();
    const turn = new THREE.Quaternion().setFromUnitVectors(from.clone().normalize(), to.clone().normalize());
    const step = () => {
      if (this.closed) return;
      const t = Math.min(1, (performance.now() - begin) / 260);
      const eased = t * t * (3 - 2 * t);
      const way = from.clone().normalize().applyQuaternion(new THREE.Quaternion().slerp(turn, eased));
      const centre = aim.clone().lerp(target, eased);
      const length = THREE.MathUtils.lerp(from.length(), to.length(), eased);
      this.place(t < 1 ? centre.clone().addScaledVector(way, length) : place, centre);
      if (t < 1) requestAnimationFrame(step);
    };
    step();
  }

  reset(): void {
    this.handled = false;
    this.lookFrom(home);
  }

  private watchClicks(): void {
    const element = this.renderer.domElement;
    let down: [number, number] | null = null;
    element.addEventListener('pointerdown', (event) => {
      down = event.isPrimary && event.button === 0 ? [event.clientX, event.clientY] : null;
    });
    element.addEventListener('pointerup', (event) => {
      if (!down || Math.hypot(event.clientX - down[0], event.clientY - down[1]) > 5) return;
      const box = element.getBoundingClientRect();
      this.click(event.clientX - box.left, event.clientY - box.top, box.width, box.height);
    });
  }

  /** Arrow keys turn the scene, plus and minus come nearer and go away, for those who use no mouse. */
  private watchKeys(): void {
    const element = this.renderer.domElement;
    element.tabIndex = 0;
    element.setAttribute('aria-label', '3D scene: arrow keys turn it, plus and minus zoom');
    const turns: Record<string, [number, number]> = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    element.addEventListener('keydown', (event) => {
      const turn = turns[event.key];
      const zoom = event.key === '+' ? 0.9 : event.key === '-' ? 1 / 0.9 : 0;
      if (!turn && !zoom) return;
      event.preventDefault();
      const offset = this.camera.position.clone().sub(this.controls.target);
      if (zoom) offset.multiplyScalar(zoom);
      else offset.copy(this.turned(offset, turn[0] * 0.15, turn[1] * 0.15));
      this.place(this.controls.target.clone().add(offset), this.controls.target.clone());
    });
  }

  private turned(offset: THREE.Vector3, around: number, over: number): THREE.Vector3 {
    const polar = new THREE.Spherical().setFromVector3(new THREE.Vector3(offset.x, offset.z, -offset.y));
    polar.theta += around;
    polar.phi += over;
    polar.makeSafe();
    const turned = new THREE.Vector3().setFromSpherical(polar);
    return offset.set(turned.x, -turned.z, turned.y);
  }

  private click(x: number, y: number, width: number, height: number): void {
    const face = this.cube.hit(x, y, width, height, this.camera);
    if (face) {
      this.lookFrom(face);
      return;
    }
    const ray = new THREE.Raycaster();
    ray.setFromCamera(new THREE.Vector2((x / width) * 2 - 1, 1 - (y / height) * 2), this.camera);
    const targets = [...this.surfaces.values()].filter((s) => s.group.visible && s.material.opacity > 0.05).flatMap((s) => s.meshes);
    const hit = ray.intersectObjects(targets, false)[0];
    if (hit) this.onPick([hit.point.x, hit.point.y, hit.point.z]);
  }

  private resize(): void {
    const { clientWidth: width, clientHeight: height } = this.host;
    if (width < 2 || height < 2) return;
    this.camera.aspect = width / height;
    this.camera.updateProjectionMatrix();
    this.renderer.setSize(width, height);
    if (!this.handled) this.lookFrom(home, false);
    this.draw();
  }

  redraw(): void {
    if (this.frame || this.closed) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      this.draw();
    });
  }

  private draw(): void {
    const { clientWidth: width, clientHeight: height } = this.host;
    if (this.closed || width < 2 || height < 2) return;
    const distance = this.camera.position.distanceTo(this.controls.target);
    this.camera.near = Math.max(0.5, distance - this.radius * 3);
    this.camera.far = distance + this.radius * 4;
    this.camera.updateProjectionMatrix();
    this.renderer.setViewport(0, 0, width, height);
    this.renderer.clear();
    this.renderer.render(this.scene, this.camera);
    this.cube.draw(this.renderer, this.camera, width, height);
  }

  close(): void {
    this.closed = true;
    cancelAnimationFrame(this.frame);
    this.watcher.disconnect();
    this.controls.dispose();
    this.removeSurfacesBut(new Set());
    this.cube.close();
    this.renderer.dispose();
    this.renderer.forceContextLoss();
    this.renderer.domElement.remove();
  }
}
