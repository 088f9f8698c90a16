// A character of `mvae-fast export walk --controller stick -o walk.h` in Godot 4, as a class of a
// GDExtension (godot-cpp). Not run here: see README.md.
//
// A Skeleton3D whose bones are named as in walk.h, with the axes that they have there: that of an
// imported .glb of `mvae-fast generate`, whose type is changed to Walker. Godot's axes are the
// model's own. Register the class with GDREGISTER_RUNTIME_CLASS (4.3), so that it does not walk in
// the editor. Put walk.bin beside the project, and into the filter of exported files.
#include <godot_cpp/classes/file_access.hpp>
#include <godot_cpp/classes/skeleton3d.hpp>
#include <godot_cpp/core/class_db.hpp>
#define WALK_IMPLEMENTATION
#include "walk.h"

using namespace godot;

class Walker : public Skeleton3D {
  GDCLASS(Walker, Skeleton3D)

public:
  // The velocity to walk at, metres a second, in the skeleton's axes: set it from the script that
  // reads the input.
  Vector3 wanted;
  void set_wanted(Vector3 velocity) { wanted = velocity; }
  Vector3 get_wanted() const { return wanted; }

  void _ready() override {
    bytes = FileAccess::get_file_as_bytes("res://walk.bin");
    if (walk_load(&model, bytes.ptr(), bytes.size())) {
      ERR_PRINT("walk.bin is missing, or is not the file that belongs to walk.h");
      set_process(false);
      return;
    }
    walk_begin(&model, &one, uint32_t(get_instance_id()));
    for (int joint = 0; joint < WALK_JOINTS; ++joint) bones[joint] = find_bone(walk_names[joint]);
    step();
    step();
  }

  void _process(double seconds) override {
    // The model has its own rate: between two of its frames, the picture is a mixture of both.
    for (passed += seconds * WALK_FPS; passed >= 1; passed -= 1) step();
    for (int joint = 0; joint < WALK_JOINTS; ++joint) {
      if (bones[joint] < 0) continue;
      set_bone_pose_rotation(bones[joint], turn(turns[0][joint]).slerp(turn(turns[1][joint]), passed));
      if (walk_parents[joint] < 0) set_bone_pose_position(bones[joint], place(places[0][joint]).lerp(place(places[1][joint]), passed));
    }
  }

protected:
  static void _bind_methods() {
    ClassDB::bind_method(D_METHOD("set_wanted", "velocity"), &Walker::set_wanted);
    ClassDB::bind_method(D_METHOD("get_wanted"), &Walker::get_wanted);
    ADD_PROPERTY(PropertyInfo(Variant::VECTOR3, "wanted"), "set_wanted", "get_wanted");
  }

private:
  static Vector3 place(const float at[3]) { return Vector3(at[0], at[1], at[2]); }
  static Quaternion turn(const float q[4]) { return Quaternion(q[0], q[1], q[2], q[3]); }

  void step() {
    const float velocity[2] = { float(wanted.x), float(wanted.z) };
    walk_toward(&model, &one, 1, velocity);
    memcpy(places[0], places[1], sizeof places[0]);
    memcpy(turns[0], turns[1], sizeof turns[0]);
    walk_joints(&one, places[1]);
    walk_rotations(&one, turns[1]);
  }

  PackedByteArray bytes;
  walk_model model;
  walk_character one;
  int bones[WALK_JOINTS];
  float places[2][WALK_JOINTS][3], turns[2][WALK_JOINTS][4];
  double passed = 0;
};
